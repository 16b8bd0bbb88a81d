"""The acoustic model: chunks equal the whole, streams do not hear each other, state is a value."""

import pytest
import torch

from edgeseq.training.input_recipe import FrontendRecipe
from edgeseq.training.recipe import NetworkRecipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.state import restart

CELLS = ("gru", "lstm", "rnn")


HIDDEN = ("hidden_0", "hidden_1")


@pytest.fixture(params=CELLS)
def model(request):
    torch.manual_seed(0)
    model = build_model(
        FrontendRecipe(), NetworkRecipe(cell=request.param, hidden_size=24, num_layers=2, rows_per_step=2), 7
    ).eval()
    model.frontend.mean.fill_(-6.0)
    model.frontend.std.fill_(3.0)
    return model


@pytest.fixture
def noise():
    return 0.1 * torch.randn(3, 6400, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run(model, audio, size):
    state, parts = model.init_state(len(audio)), []
    for chunk in audio.split(size, dim=1):
        log_probs, state = model.step(chunk, state)
        parts.append(log_probs)
    return torch.cat(parts, dim=1), state


@pytest.mark.parametrize("size", [1, 79, 160, 777])
def test_chunks_equal_the_whole(model, noise, size):
    whole, whole_state = run(model, noise, 6400)
    parts, state = run(model, noise, size)
    assert parts.shape == whole.shape == (3, 40, 7)
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
    for name in HIDDEN:
        torch.testing.assert_close(state[name], whole_state[name], atol=1e-4, rtol=0)


def test_rows_of_a_batch_do_not_hear_each_other(model, noise):
    together, _ = run(model, noise, 1000)
    for row in range(3):
        alone, _ = run(model, noise[row : row + 1], 1000)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_interleaved_streams_do_not_hear_each_other(model, noise):
    alone = [run(model, noise[row : row + 1], 500)[0] for row in range(2)]
    states, parts = [model.init_state(1), model.init_state(1)], [[], []]
    with torch.no_grad():
        for first in range(0, 6400, 500):
            for row in range(2):
                log_probs, states[row] = model.step(noise[row : row + 1, first : first + 500], states[row])
                parts[row].append(log_probs)
    for row in range(2):
        assert torch.equal(torch.cat(parts[row], dim=1), alone[row])


def test_step_does_not_modify_the_state_it_is_given(model, noise):
    _, state = run(model, noise, 777)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    first, _ = model.step(noise, state)
    again, _ = model.step(noise, state)
    assert torch.equal(first, again)
    assert all(torch.equal(kept[name], state[name]) for name in kept)


def test_future_samples_leave_past_output_alone(model, noise):
    changed = noise.clone()
    changed[:, 3200:] = 0.7
    before, after = run(model, noise, 6400)[0], run(model, changed, 6400)[0]
    torch.testing.assert_close(before[:, :20], after[:, :20], atol=1e-6, rtol=0)


def test_restart_zeroes_the_chosen_rows_only(model, noise):
    _, state = run(model, noise, 6400)
    restarted = restart(state, torch.tensor([True, False, True]))
    for name in (*HIDDEN, "samples"):
        assert not restarted[name][0].any() and not restarted[name][2].any()
        assert torch.equal(restarted[name][1], state[name][1])
