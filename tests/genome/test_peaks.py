from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.peaks import call_peaks
from genomic_ulmfit.genome.tracks import ScoreBlock


def _block(scores, start=0, chrom="chr1", strand="+", step=10, end=None):
    scores = np.array(scores, dtype=np.float32)
    return ScoreBlock(chrom, start, step, scores, start + step * len(scores) if end is None else end, strand)


def test_calls_are_runs_of_high_bins():
    calls = call_peaks([_block([0.5, 0.25, 0.75, 1, np.nan, 0.75], end=55)], min_distance=0)
    assert calls == [
        Interval("chr1", 0, 10, "peak_1", 0.5, "+"),
        Interval("chr1", 20, 40, "peak_2", 1.0, "+"),
        Interval("chr1", 50, 55, "peak_3", 0.75, "+"),
    ]


@pytest.mark.parametrize(("min_distance", "n_calls"), [(0, 2), (20, 2), (21, 1)])
def test_near_runs_become_one(min_distance, n_calls):
    calls = call_peaks([_block([1, 0, 0, 0.5])], min_distance=min_distance)
    assert len(calls) == n_calls
    assert calls[0].score == 1.0
    assert calls[-1].end == 40


def test_strands_and_chromosomes_are_called_apart():
    blocks = [_block([1, 0]), _block([0, 1], strand="-"), _block([1], 20), _block([1], chrom="chr0")]
    assert [call.id for call in call_peaks(blocks, min_distance=0)] == [
        "chr1:0-10(+)",
        "chr1:10-20(-)",
        "chr1:20-30(+)",
        "chr0:0-10(+)",
    ]


@given(st.lists(st.sampled_from([0.0, 0.4, 0.5, 1.0, np.nan]), min_size=2, max_size=40), st.data())
def test_the_cut_into_blocks_leaves_no_trace(scores, data):
    cut = data.draw(st.integers(1, len(scores) - 1))
    distance = data.draw(st.integers(0, 40))
    whole = call_peaks([_block(scores)], min_distance=distance)
    assert whole == call_peaks([_block(scores[:cut]), _block(scores[cut:], 10 * cut)], min_distance=distance)
    high = {10 * i for i, score in enumerate(scores) if score >= 0.5}
    assert all(any(call.start <= base < call.end for call in whole) for base in high)
    assert all(call.start in high and call.end - 10 in high for call in whole)
    assert all(b.start - a.end >= max(distance, 1) for a, b in pairwise(whole))


def test_no_blocks_no_calls():
    assert call_peaks([]) == []
    assert call_peaks([_block([0.1, np.nan])]) == []


def test_unsorted_blocks_and_negative_distances_are_refused():
    with pytest.raises(ValueError, match="sort the blocks"):
        call_peaks([_block([1], 10), _block([1], 0)])
    with pytest.raises(ValueError, match="length in bp"):
        call_peaks([], min_distance=-1)
