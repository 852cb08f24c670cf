from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import find_peaks

from genomic_ulmfit.genome.algebra import to_bedtool, to_pyranges
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.peaks import Peak, call_peaks
from genomic_ulmfit.genome.tracks import ScoreBlock


def _block(scores, start=0, chrom="chr1", strand="+", step=10, end=None):
    scores = np.array(scores, dtype=np.float32)
    return ScoreBlock(chrom, start, step, scores, start + step * len(scores) if end is None else end, strand)


def _places(calls):
    return [(call.start, call.end, call.summit) for call in calls]


def test_a_call_is_a_run_of_high_bins_around_its_summit():
    calls = call_peaks([_block([0.5, 0.25, 0.75, 1, np.nan, 0.75], end=55)], min_distance=0)
    assert calls == [
        Peak("chr1", 0, 10, "peak_1", 0.5, "+", 5),
        Peak("chr1", 20, 40, "peak_2", 1.0, "+", 35),
        Peak("chr1", 50, 55, "peak_3", 0.75, "+", 52),
    ]


def test_the_summit_of_a_plateau_is_its_middle():
    assert _places(call_peaks([_block([0.6, 0.9, 0.9, 0.9, 0.7])])) == [(0, 50, 25)]


def test_the_summit_of_one_bin_is_the_base_that_its_window_was_anchored_at():
    (call,) = call_peaks([_block([0.1, 0.9, 0.1], start=1000)])
    assert call.site == Interval("chr1", 1015, 1016, "peak_1", call.score, "+")  # start + step // 2, as in scan


def test_the_lowest_bin_between_two_summits_of_a_run_belongs_to_neither():
    scores = [0.8, 0.9, 0.6, 0.55, 0.7, 1.0, 0.1]
    assert _places(call_peaks([_block(scores)], min_distance=40)) == [(0, 30, 15), (40, 60, 55)]
    assert _places(call_peaks([_block(scores)], min_distance=41)) == [(0, 60, 55)]


def test_a_summit_is_left_out_for_one_that_stays_only():
    scores = [0.6, 0.1, 0.8, 0.1, 0.9]  # the middle one goes for the last, so it does not take the first along
    assert [call.summit for call in call_peaks([_block(scores)], min_distance=30)] == [5, 45]


def test_of_two_summits_as_high_and_too_near_the_first_stays():
    assert [call.summit for call in call_peaks([_block([0.9, 0.1, 0.9])], min_distance=21)] == [5]


def test_strands_and_chromosomes_are_called_apart():
    blocks = [_block([1, 0]), _block([0, 1], strand="-"), _block([1], 20), _block([1], chrom="chr0")]
    assert [call.id for call in call_peaks(blocks, min_distance=20)] == [
        "chr1:0-10(+)",
        "chr1:10-20(-)",
        "chr1:20-30(+)",
        "chr0:0-10(+)",
    ]


def test_bins_across_a_gap_are_two_runs():
    assert _places(call_peaks([_block([0.9, 0.9]), _block([0.9], 30)], min_distance=0)) == [(0, 20, 10), (30, 40, 35)]


_SCORES = st.lists(st.sampled_from([0.0, 0.375, 0.5, 0.75, 1.0, np.nan]), min_size=2, max_size=40)


@given(_SCORES, st.data())
def test_the_cut_into_blocks_leaves_no_trace(scores, data):
    cut = data.draw(st.integers(1, len(scores) - 1))
    distance = data.draw(st.integers(0, 60))
    whole = call_peaks([_block(scores)], min_distance=distance)
    assert whole == call_peaks([_block(scores[:cut]), _block(scores[cut:], 10 * cut)], min_distance=distance)


def test_many_small_blocks_are_called_like_one(monkeypatch):
    scores = np.random.default_rng(0).random(500)
    whole = call_peaks([_block(scores)])
    monkeypatch.setattr("genomic_ulmfit.genome.peaks._BINS_AT_ONCE", 7)
    assert call_peaks([_block([score], 10 * i) for i, score in enumerate(scores)]) == whole


@given(_SCORES, st.integers(0, 60))
def test_a_lower_threshold_takes_no_summit_away_and_widens_calls(scores, distance):
    high, low = (call_peaks([_block(scores)], threshold=t, min_distance=distance) for t in (0.6, 0.3))
    wide = {call.summit: call for call in low}
    for call in high:
        assert wide[call.summit].start <= call.start
        assert wide[call.summit].end >= call.end
    assert {call.summit for call in high} == {call.summit for call in low if call.score >= 0.6}


@given(_SCORES, st.integers(0, 60))
def test_calls_are_high_do_not_overlap_and_their_summits_are_apart(scores, distance):
    calls = call_peaks([_block(scores)], min_distance=distance)
    for a, b in itertools.pairwise(calls):
        assert a.end <= b.start
        assert b.summit - a.summit >= distance
    for call in calls:
        bins = scores[call.start // 10 : call.end // 10]
        assert min(bins) >= 0.5
        assert scores[call.summit // 10] == call.score or scores[call.summit // 10 - 1] == call.score
        assert max(bins) >= call.score


@pytest.mark.parametrize("distance", [1, 30, 120, 500])
def test_summits_are_those_of_scipy(distance):
    scores = np.random.default_rng(distance).random(2000).astype(np.float32)  # no two alike, as scipy breaks ties anew
    found, _ = find_peaks(np.pad(scores, 1), height=0.5, distance=max(1, distance // 10))
    calls = call_peaks([_block(scores)], min_distance=distance)
    assert [call.summit for call in calls] == (10 * (found - 1) + 5).tolist()


def test_no_blocks_no_calls():
    assert call_peaks([]) == []
    assert call_peaks([_block([0.1, np.nan])]) == []


def test_calls_become_pyranges_and_bedtools():
    calls = call_peaks([_block([0.5, 0.25, 0.75])], min_distance=0)
    assert to_pyranges(calls).df["End"].tolist() == [10, 30]
    assert next(row.fields for row in to_bedtool(calls)) == ["chr1", "0", "10", "peak_1", "0.5", "+"]


def test_unsorted_blocks_and_negative_distances_are_refused():
    with pytest.raises(ValueError, match="sort the blocks"):
        call_peaks([_block([1], 10), _block([1], 0)])
    with pytest.raises(ValueError, match="length in bp"):
        call_peaks([], min_distance=-1)
