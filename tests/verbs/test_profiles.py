import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.profiles import enrichment
from tests.toy_models import MotifAt


def result(scores: list[float], anchor: int | None = None, kind: str = "1") -> gu.Saliency:
    record = SeqRecord(Seq("A" * len(scores)), id="r", annotations={} if anchor is None else {"anchor": anchor})
    values = np.array(scores, dtype=np.float32)
    return gu.Saliency(record, "x", 0.0, {kind: 2 * values}, values)


def test_records_are_lined_up_at_their_anchors():
    profile = gu.average_profile([result([1, 2, 3], anchor=1), result([5, np.nan, 9, 7], anchor=2)])
    assert profile.positions.tolist() == [-2, -1, 0, 1]
    np.testing.assert_allclose(profile.mean, [5, 1, 5.5, 5])
    np.testing.assert_allclose(profile.curves["1"], [10, 2, 11, 10])
    assert profile.values.shape == (2, 4)
    assert gu.average_profile([result([1, 2, 3])], anchor=2).positions.tolist() == [-2, -1, 0]


def test_the_interval_is_that_of_a_bootstrap_over_records():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, size=(400, 2))
    profile = gu.average_profile([result(row.tolist()) for row in values], anchor=0)
    half = 1.96 * values.std(axis=0) / 20  # of the normal approximation
    np.testing.assert_allclose(profile.high - profile.mean, half, rtol=0.15)
    np.testing.assert_allclose(profile.mean - profile.low, half, rtol=0.15)
    again = gu.average_profile([result(row.tolist()) for row in values], anchor=0)
    np.testing.assert_array_equal(profile.low, again.low)


def test_where_no_record_has_a_value_there_is_none():
    profile = gu.average_profile([result([np.nan, 1]), result([np.nan, 3])], anchor=0)
    assert np.isnan([profile.mean[0], profile.low[0], profile.high[0]]).all()
    assert (profile.mean[1], profile.low[1], profile.high[1]) == (2, 1, 3)


def test_a_planted_motif_is_where_the_profile_peaks():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("CG"), 30)) for _ in range(5)]
    records = [SeqRecord(Seq(text[:10] + "TATAAT" + text[16:]), id=text) for text in texts]
    found = gu.saliency(MotifAt("TATAAT", offset=10, window=30), records, lengths=(1, 5))
    profile = gu.average_profile(found, anchor=22)
    at = profile.inside((-12, -6))
    assert profile.mean[at].min() > profile.mean[~at].max()
    box = enrichment(profile, (-12, -6), [(-22, -16), (-2, 8)])
    assert box.flanks == 0
    assert np.isnan(box.ratio[0])
    assert box.difference[0] == pytest.approx(box.box)


def test_enrichment_by_hand():
    profile = gu.average_profile([result([1, 4, 6, 1]), result([3, 4, 6, 3])], anchor=0)
    found = enrichment(profile, (1, 3), [(0, 1), (3, 9)])
    assert (found.box, found.flanks) == (5, 2)
    assert found.difference == (3, 2, 4)  # both draws of one record
    assert found.ratio == pytest.approx((2.5, 5 / 3, 5))


@pytest.mark.parametrize(("box", "flanks"), [((9, 12), [(0, 1)]), ((0, 2), [(1, 3)]), ((0, 1), [(7, 9)])])
def test_boxes_and_flanks_that_are_not_there_are_refused(box, flanks):
    with pytest.raises(SettingError, match="inside the profile and apart"):
        enrichment(gu.average_profile([result([1, 2, 3])], anchor=0), box, flanks)


@pytest.mark.parametrize(
    ("results", "options", "error", "said"),
    [
        ([], {}, DatasetError, "no saliencies"),
        ([result([1])], {}, DatasetError, "no anchor"),
        ([result([1], 0), result([1], 0, kind="5")], {}, DatasetError, "differ in what replaced"),
        ([result([1], 0)], {"bootstraps": 0}, SettingError, "bootstraps is 0"),
    ],
)
def test_what_has_no_average_is_refused(results, options, error, said):
    with pytest.raises(error, match=said):
        gu.average_profile(results, **options)
