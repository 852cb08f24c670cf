"""The benchmark of sigma70 promoters: which records it explains, and where it says that a profile peaks."""

from itertools import pairwise

import numpy as np
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks import sigma70


def test_explained_promoters_do_not_overlap():
    starts = np.random.default_rng(0).integers(0, 5000, 200)
    records = [SeqRecord(None, annotations={"start": int(at), "end": int(at) + 81}) for at in starts]
    taken = sigma70.apart(records, 30, seed=0)
    places = sorted(record.annotations["start"] for record in taken)
    assert len(places) == 30
    assert min(np.diff(places)) >= 81
    assert len(sigma70.apart(records, 10**6, seed=0)) < 200


def test_peaks_are_the_highest_maxima_apart_from_one_another():
    scores = np.zeros(81, dtype=np.float32)
    scores[[49, 50, 26, 70]] = 3, 2.5, 2, 1
    record = SeqRecord(Seq("A" * 81), annotations={"anchor": 60})
    profile = gu.average_profile([gu.Saliency(record, "promoter", 0.0, {"1": scores}, scores)])
    assert sigma70.peaks(profile, 3) == [-11, -34, 10]


def test_boxes_spacer_and_flanks_are_apart_and_hold_the_consensus():
    stretches = sorted([*sigma70.BOXES.values(), sigma70.SPACER, *sigma70.FLANKS])
    assert all(one[1] <= other[0] for one, other in pairwise(stretches))
    assert sigma70.BOXES["-10"][0] <= -12 and sigma70.BOXES["-10"][1] > -7
    assert sigma70.BOXES["-35"][0] <= -36 and sigma70.BOXES["-35"][1] > -31
