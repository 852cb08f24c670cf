import torch
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.net.pooling import concat_pool, segment_of, segment_starts


def test_concat_pool_by_hand():
    x = torch.tensor([[[1.0, 5.0], [3.0, 2.0], [9.0, 9.0]]])
    pooled = concat_pool(x, torch.tensor([2]), torch.tensor([[True, True, False]]))
    assert pooled.tolist() == [[3.0, 2.0, 3.0, 5.0, 2.0, 3.5]]


def test_segments_by_hand():
    x = torch.tensor([[[1.0], [3.0], [5.0], [9.0]], [[2.0], [4.0], [9.0], [9.0]]])
    lengths, mask = torch.tensor([4, 2]), torch.tensor([[True, True, True, True], [True, True, False, False]])
    assert concat_pool(x, lengths, mask, 3)[:, 3:].tolist() == [[2.0, 5.0, 9.0], [2.0, 4.0, 0.0]]


@given(length=st.integers(1, 400), segments=st.integers(1, 120))
def test_segments_part_a_record_evenly(length, segments):
    of = segment_of(torch.arange(length), torch.tensor(length), segments)
    sizes = segment_starts(torch.tensor([length]), segments)[0].diff()
    assert torch.equal(torch.bincount(of, minlength=segments), sizes)
    assert sizes.max() - sizes.min() <= 1
