import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.net.awd_lstm import AWDLSTM, AWDLSTMConfig
from genomic_ulmfit.net.echo import Echo
from genomic_ulmfit.net.recurrence import Recurrence, State

CPU = torch.device("cpu")


def a_recurrence(seed: int, *, forget: float, recurrent: float) -> Recurrence:
    torch.manual_seed(seed)
    encoder = AWDLSTM(18, AWDLSTMConfig(n_embedding=6, n_hidden=6, n_layers=1))
    encoder.embedding.weight.data *= 20
    encoder.layers[0].weight_hh_l0.data *= recurrent
    encoder.layers[0].bias_ih_l0.data.chunk(4)[1].add_(forget)
    return Recurrence(encoder, device=CPU)


def echo_of(recurrence: Recurrence, ids: torch.Tensor, state: State) -> Echo:
    echo, state = Echo.silence(recurrence, ids.shape[1]), state[torch.arange(ids.shape[1])]
    state.gates = []
    for n in recurrence.walk(ids, state):
        echo.add(state, n)
    return echo


def two_states(recurrence: Recurrence, n: int, apart: float) -> tuple[State, State]:
    one, other = recurrence.zero(n), recurrence.zero(n)
    one.c[0][:, :6] = 5 * torch.randn(n, 6)
    other.c[0][:] = one.c[0] + apart * torch.randn(n, len(one.c[0][0])) * (one.c[0] != 0)
    return one, other


@torch.inference_mode()
@given(
    seed=st.integers(0, 99),
    forget=st.sampled_from([-2.0, 0.0, 3.0, 20.0]),
    apart=st.sampled_from([1e-3, 0.1, 1.0, 10.0]),
    steps=st.integers(1, 30),
)
def test_outputs_never_differ_by_more_than_is_said(seed, forget, apart, steps):
    recurrence = a_recurrence(seed, forget=forget, recurrent=0.0)  # gates don't depend on outputs
    ids = torch.randint(0, 18, (steps, 8))
    one, other = two_states(recurrence, 8, apart)
    said = echo_of(recurrence, ids, one).difference(one, other)
    walks = zip(recurrence.walk(ids, one), recurrence.walk(ids, other), strict=True)
    for _ in walks:
        assert ((one.h[0] - other.h[0]).abs().amax(dim=1) <= said * (1 + 1e-4) + 1e-6).all()


@torch.inference_mode()
def test_a_difference_that_is_forgotten_or_hidden_is_said_to_be_small():
    forgetful, counting = (a_recurrence(0, forget=forget, recurrent=1.0) for forget in (-20.0, 20.0))
    ids = torch.randint(0, 18, (12, 4))
    one, other = two_states(forgetful, 4, 1.0)
    assert echo_of(forgetful, ids, one).difference(one, other).max() < 1e-6
    assert echo_of(counting, ids, one).difference(one, other).min() > 0.1
    one.c[0][:, :6], other.c[0][:, :6] = 60.0, 61.0  # full, and never emptied
    assert echo_of(counting, ids, one).difference(one, other).max() < 1e-6


@torch.inference_mode()
def test_steps_and_those_that_follow_are_all_of_them():
    recurrence = a_recurrence(1, forget=1.0, recurrent=1.0)
    ids = torch.randint(0, 18, (10, 5))
    state = two_states(recurrence, 5, 0.0)[0]
    whole = echo_of(recurrence, ids, state)
    first = echo_of(recurrence, ids[:4], state)
    for _ in recurrence.walk(ids[:4], state):
        pass
    joined = first.then(echo_of(recurrence, ids[4:], state))
    for part in ("faded", "loudest", "largest"):
        torch.testing.assert_close(getattr(joined, part), getattr(whole, part))


@torch.inference_mode()
@pytest.mark.parametrize("which", ["h", "c"])
def test_without_steps_outputs_count_as_they_are_and_cells_not_at_all(which):
    recurrence = a_recurrence(0, forget=0.0, recurrent=1.0)
    one, other = recurrence.zero(3), recurrence.zero(3)
    getattr(other, which)[0][1, 2] = 0.5
    said = Echo.silence(recurrence, 3).difference(one, other)
    assert said.tolist() == ([0.0, 0.5, 0.0] if which == "h" else [0.0, 0.0, 0.0])
