import pytest
import torch

from genomic_ulmfit.net.awd_lstm import AWDLSTM, AWDLSTMConfig
from genomic_ulmfit.net.recurrence import Recurrence, State

N_IDS = 18


def encoder(n_layers: int = 2, n_embedding: int = 12, n_hidden: int = 33) -> AWDLSTM:
    torch.manual_seed(n_layers)
    return AWDLSTM(N_IDS, AWDLSTMConfig(n_embedding=n_embedding, n_hidden=n_hidden, n_layers=n_layers)).eval()


def distance(one: State, other: State) -> float:
    """Return the largest difference of outputs and memories."""
    return max((a - b).abs().max().item() for a, b in zip(one.h + one.c, other.h + other.c, strict=True))


def read(recurrence, ids, state, n_rows=None):
    with torch.inference_mode():
        return list(recurrence.walk(ids, state, n_rows))


@pytest.mark.parametrize(("n_layers", "n_embedding", "n_hidden"), [(1, 1, 1), (2, 12, 33), (3, 32, 64)])
def test_every_step_is_that_of_torch_s_lstm(n_layers, n_embedding, n_hidden):
    net = encoder(n_layers, n_embedding, n_hidden)
    ids = torch.randint(N_IDS, (17, 5))
    recurrence = Recurrence(net, device=torch.device("cpu"))
    state = recurrence.zero(5)
    with torch.inference_mode():
        raw, after = net(ids.t())
        for t, _ in enumerate(recurrence.walk(ids, state)):
            for mine, layer in zip(state.h, raw, strict=True):
                torch.testing.assert_close(mine[:, : layer.shape[2]], layer[:, t], atol=1e-6, rtol=0)
    for mine, (_, c) in zip(state.c, after, strict=True):
        torch.testing.assert_close(mine[:, : c.shape[2]], c[0], atol=1e-6, rtol=0)


def test_units_that_pad_a_layer_stay_at_zero():
    recurrence = Recurrence(encoder(), device=torch.device("cpu"))
    state = recurrence.zero(3)
    read(recurrence, torch.randint(N_IDS, (9, 3)), state)
    assert [h.shape[1] for h in state.h] == [64, 32]
    assert not state.h[0][:, 33:].any()
    assert not state.c[1][:, 12:].any()


def test_a_walk_goes_on_from_a_state():
    recurrence = Recurrence(encoder(), device=torch.device("cpu"))
    ids = torch.randint(N_IDS, (20, 4))
    whole, parts = recurrence.zero(4), recurrence.zero(4)
    read(recurrence, ids, whole)
    read(recurrence, ids[:7], parts)
    read(recurrence, ids[7:], parts)
    assert distance(parts, whole) < 1e-6


def test_rows_that_have_ended_keep_their_state():
    recurrence = Recurrence(encoder(), device=torch.device("cpu"))
    ids = torch.randint(N_IDS, (6, 3))
    together = recurrence.zero(3)
    assert read(recurrence, ids, together, [3, 3, 2, 2, 1, 1]) == [3, 3, 2, 2, 1, 1]
    for row, length in enumerate([6, 4, 2]):
        alone = recurrence.zero(1)
        read(recurrence, ids[:length, [row]], alone)
        assert distance(together[row : row + 1], alone) < 1e-6


def test_a_state_is_read_and_written_by_rows():
    recurrence = Recurrence(encoder(), device=torch.device("cpu"))
    state, other = recurrence.zero(4), recurrence.zero(2)
    other.c[1][1, 3] = -2.5
    state[torch.tensor([3, 0])] = other
    assert state.c[1][:, 3].tolist() == [-2.5, 0, 0, 0]
    assert distance(state, recurrence.zero(4)) == 2.5
    assert len(state[1:]) == 3


def test_weights_are_read_once():
    net = encoder()
    recurrence = Recurrence(net, device=torch.device("cpu"))
    before, after = recurrence.zero(2), recurrence.zero(2)
    ids = torch.randint(N_IDS, (5, 2))
    read(recurrence, ids, before)
    for parameter in net.parameters():
        parameter.data.zero_()
    read(recurrence, ids, after)
    assert distance(after, before) == 0


def test_bf16_is_near_float32():
    exact, fast = (Recurrence(encoder(), device=torch.device("cpu"), bf16=bf16) for bf16 in (False, True))
    ids = torch.randint(N_IDS, (30, 4))
    states = [recurrence.zero(4) for recurrence in (exact, fast)]
    for recurrence, state in zip((exact, fast), states, strict=True):
        read(recurrence, ids, state)
    assert 0 < distance(states[0], states[1]) < 0.02
