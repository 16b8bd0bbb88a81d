"""Every cell, width, option and chunk length: the graph, in every form, is the network that torch computes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.errors import UsageError
from edgeseq.export.auto import time_forms
from edgeseq.export.forms import BITS, TARGETS, GraphForm, candidates, choose_form
from edgeseq.export.graph import build_layers_graph
from edgeseq.export.simulation import simulate, with_stored_weights
from edgeseq.export.torch_network import as_arrays
from edgeseq.export.verify import TOLERANCES
from edgeseq.model.session import open_session
from edgeseq.training.head import Head
from edgeseq.training.state import pick
from edgeseq.training.trunk import Trunk
from edgeseq.training.weight_grids import BLOCK, quantize_blocks, quantize_columns

LIMIT = 5.0
FORMS = tuple(form for bits in BITS for form in candidates(bits))

encoders = st.builds(
    dict,
    n_features=st.integers(1, 12),
    cell=st.sampled_from(["gru", "lstm", "rnn"]),
    hidden_size=st.integers(1, 40),
    num_layers=st.integers(1, 3),
    subsampling=st.sampled_from([1, 2, 4]),
    n_tokens=st.integers(2, 9),
    layer_norm=st.booleans(),
    projection_size=st.one_of(st.none(), st.integers(1, 20)),
)


def make(seed, **sizes):
    torch.manual_seed(seed)
    n_tokens = sizes.pop("n_tokens")
    trunk = Trunk(dropout=0.0, **sizes)
    network = torch.nn.ModuleDict({"trunk": trunk, "head": Head(trunk.width, n_tokens)}).eval()
    with torch.no_grad():  # far from uniform, so that differences show
        for parameter in network.parameters():
            parameter.mul_(2)
    return network["trunk"], network["head"]


def draw(trunk, batch, n_steps, seed):
    """Frames and a state, in the ranges that they have."""
    generator = torch.Generator().manual_seed(seed)
    frames = 3 * torch.randn(batch, n_steps * trunk.subsampling, trunk.n_features, generator=generator)
    state = {name: 2 * torch.rand(zero.shape, generator=generator) - 1 for name, zero in trunk.init_state(batch).items()}
    return frames.clamp(-LIMIT, LIMIT), state


def feed(frames, state, n_steps):
    return {"features": frames.reshape(len(frames), n_steps, -1).numpy()} | as_arrays(state)


def run(session, feeds):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def states_of(outputs):
    return {name.removesuffix("_next"): value for name, value in outputs.items() if name != "log_probs"}


@given(sizes=encoders, form=st.sampled_from(FORMS), n_steps=st.integers(1, 5), batch=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=120, deadline=None)
@torch.inference_mode()
def test_a_graph_is_the_network_that_torch_computes(sizes, form, n_steps, batch, seed):
    trunk, head = make(seed, **sizes)
    frames, state = draw(trunk, batch, n_steps, seed)
    outputs = run(
        open_session(build_layers_graph(trunk, head, n_steps, form).SerializeToString()), feed(frames, state, n_steps)
    )
    if form.bits == 32:
        wanted, wanted_state = trunk.step(frames, state)
    else:
        wanted, wanted_state = simulate(with_stored_weights(trunk, form.bits), frames, state, LIMIT, form.product)
    wanted, wanted_state = head(wanted), as_arrays(wanted_state)
    largest, mean = TOLERANCES[form.product]
    difference = np.abs(outputs["log_probs"] - wanted.numpy())
    assert outputs["log_probs"].shape == wanted.shape
    assert difference.max() <= largest and difference.mean() <= 4 * mean
    for name, found in states_of(outputs).items():
        assert np.abs(found - wanted_state[name]).max() <= largest


@given(sizes=encoders, form=st.sampled_from(FORMS), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
@torch.inference_mode()
def test_chunks_equal_the_whole_and_rows_hear_nobody(sizes, form, seed):
    """Four steps at once and four times one; three rows together and each alone: the same, to the last step of a byte."""
    trunk, head = make(seed, **sizes)
    frames, state = draw(trunk, 3, 4, seed)
    frames[0] *= 0.01  # a whisper beside the others
    whole = run(open_session(build_layers_graph(trunk, head, 4, form).SerializeToString()), feed(frames, state, 4))
    single = open_session(build_layers_graph(trunk, head, 1, form).SerializeToString())
    for row in range(3):
        carried = as_arrays(pick(state, torch.tensor([row])))
        rows = []
        for step in range(4):
            piece = frames[row : row + 1, step * trunk.subsampling : (step + 1) * trunk.subsampling]
            outputs = run(single, {"features": piece.reshape(1, 1, -1).numpy(), **carried})
            rows.append(outputs["log_probs"])
            carried = states_of(outputs)
        tolerance = 1e-4 if form.product == "float" else 0.05 * TOLERANCES[form.product][0]
        np.testing.assert_allclose(np.concatenate(rows, axis=1)[0], whole["log_probs"][row], atol=tolerance)
        for name, value in carried.items():
            np.testing.assert_allclose(value[0], whole[f"{name}_next"][row], atol=tolerance)


@given(n_out=st.integers(1, 20), n_in=st.integers(1, 100), seed=st.integers(0, 99), exponent=st.integers(-3, 3))
@settings(max_examples=60, deadline=None)
def test_4_bit_weights_are_within_a_level_of_their_block(n_out, n_in, seed, exponent):
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    blocks = quantize_blocks(weight)
    assert blocks.values.max() <= 15 and blocks.packed().shape == (n_out, -(-n_in // BLOCK), BLOCK // 2)
    columns = blocks.columns()
    assert columns.values.abs().max() <= 64
    error = (columns.dequantize().T - weight).abs()
    level = (blocks.multipliers.abs() * blocks.scales[:, None]).repeat_interleave(BLOCK, dim=1)[:, :n_in]
    assert bool((error <= 2.01 * level).all())
    assert error.square().mean() <= (weight.abs().amax() / 14) ** 2


def test_a_matrix_of_zeros_stays_zeros():
    zeros = torch.zeros(3, 40)
    assert not quantize_blocks(zeros).columns().values.any() and not quantize_columns(zeros).dequantize().any()


def test_targets_choose_forms():
    large, small = 5_000_000, 10_000
    for target in TARGETS:
        assert choose_form(target, 32, large, 2).steps == "operator"
        assert choose_form(target, 8, large, 2) == GraphForm(8, "unrolled", "integer")
        assert choose_form(target, 8, small, 2) == GraphForm(8, "operator", "float")
        assert choose_form(target, 4, large, 2) == GraphForm(4, "unrolled", "integer")
    single = {target: choose_form(target, 4, large, 1).product for target in TARGETS}
    assert single == {"generic": "integer", "x86": "blocks", "pi4": "integer", "pi5": "integer"}


def test_unknown_targets_and_widths_are_named():
    with pytest.raises(UsageError, match=r"'z80' is not a target. There are generic, x86, pi4, pi5 and auto"):
        choose_form("z80", 8, 1, 1)
    with pytest.raises(UsageError, match="7 bits a weight: there are 32, 8, 4"):
        choose_form("generic", 7, 1, 1)


def test_auto_measures_every_form():
    trunk, head = make(0, n_features=4, cell="gru", hidden_size=8, num_layers=1, subsampling=4, n_tokens=5)
    times = time_forms(trunk, head, 2, 4)
    assert set(times) == set(candidates(4)) and all(value > 0 for value in times.values())
