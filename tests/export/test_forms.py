"""Every cell, width, option and chunk length: the graph, in every form, is the network that torch computes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.errors import ExportError, UsageError
from edgeseq.export.auto import time_forms
from edgeseq.export.forms import BITS, TARGETS, Form, candidates, choose_form
from edgeseq.export.graph import build_encoder_graph
from edgeseq.export.simulation import simulate, with_stored_weights
from edgeseq.export.verify import TOLERANCES
from edgeseq.model.session import open_session
from edgeseq.training.acoustic_model import Encoder, EncoderState
from edgeseq.training.weight_grids import BLOCK, quantize_blocks, quantize_columns

LIMIT = 5.0
FORMS = tuple(form for bits in BITS for form in candidates(bits))

encoders = st.builds(
    dict,
    n_mels=st.integers(1, 12),
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
    encoder = Encoder(rows_per_step=1, dropout=0.0, **sizes).eval()
    with torch.no_grad():  # far from uniform, so that differences show
        for parameter in encoder.parameters():
            parameter.mul_(2)
    return encoder


def draw(encoder, batch, n_steps, seed):
    """Frames and a state, in the ranges that they have."""
    generator = torch.Generator().manual_seed(seed)
    frames = 3 * torch.randn(
        batch, n_steps * encoder.subsampling, encoder.input_size // encoder.subsampling, generator=generator
    )
    zero = encoder.init_state(batch)
    hidden = tuple(2 * torch.rand(h.shape, generator=generator) - 1 for h in zero.hidden)
    return frames.clamp(-LIMIT, LIMIT), EncoderState(zero.frames, hidden)


def feed(encoder, frames, state, n_steps):
    names = ("hidden", "cell")
    return {"features": frames.reshape(len(frames), n_steps, -1).numpy()} | {
        f"state_{names[kind]}_{layer}": h[layer].numpy() for kind, h in enumerate(state.hidden) for layer in range(len(h))
    }


def run(session, feeds):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def states_of(outputs):
    return {name.removesuffix("_next"): value for name, value in outputs.items() if name != "log_probs"}


@given(sizes=encoders, form=st.sampled_from(FORMS), n_steps=st.integers(1, 5), batch=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=120, deadline=None)
@torch.inference_mode()
def test_a_graph_is_the_network_that_torch_computes(sizes, form, n_steps, batch, seed):
    encoder = make(seed, **sizes)
    frames, state = draw(encoder, batch, n_steps, seed)
    outputs = run(
        open_session(build_encoder_graph(encoder, n_steps, form).SerializeToString()), feed(encoder, frames, state, n_steps)
    )
    if form.bits == 32:
        wanted, wanted_state = encoder.step(frames, state)
    else:
        wanted, wanted_state = simulate(with_stored_weights(encoder, form.bits), frames, state, LIMIT, form.product)
    largest, mean = TOLERANCES[form.product]
    difference = np.abs(outputs["log_probs"] - wanted.numpy())
    assert outputs["log_probs"].shape == wanted.shape
    assert difference.max() <= largest and difference.mean() <= 4 * mean
    for name, found in states_of(outputs).items():
        kind, layer = name.removeprefix("state_").split("_")
        expected = wanted_state.hidden[("hidden", "cell").index(kind)][int(layer)].numpy()
        assert np.abs(found - expected).max() <= largest


@given(sizes=encoders, form=st.sampled_from(FORMS), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
@torch.inference_mode()
def test_chunks_equal_the_whole_and_rows_hear_nobody(sizes, form, seed):
    """Four steps at once and four times one; three rows together and each alone: the same, to the last step of a byte."""
    encoder = make(seed, **sizes)
    frames, state = draw(encoder, 3, 4, seed)
    frames[0] *= 0.01  # a whisper beside the others
    whole = run(open_session(build_encoder_graph(encoder, 4, form).SerializeToString()), feed(encoder, frames, state, 4))
    single = open_session(build_encoder_graph(encoder, 1, form).SerializeToString())
    for row in range(3):
        alone = EncoderState(state.frames[row : row + 1], tuple(h[:, row : row + 1] for h in state.hidden))
        carried = states_of(
            {f"{k}_next": v for k, v in feed(encoder, frames[row : row + 1], alone, 4).items() if k != "features"}
        )
        rows = []
        for step in range(4):
            piece = frames[row : row + 1, step * encoder.subsampling : (step + 1) * encoder.subsampling]
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
        assert choose_form(target, 8, large, 2) == Form(8, "unrolled", "integer")
        assert choose_form(target, 8, small, 2) == Form(8, "operator", "float")
        assert choose_form(target, 4, large, 2) == Form(4, "unrolled", "integer")
    single = {target: choose_form(target, 4, large, 1).product for target in TARGETS}
    assert single == {"generic": "integer", "x86": "blocks", "pi4": "integer", "pi5": "integer"}


def test_unknown_targets_and_widths_are_named():
    with pytest.raises(UsageError, match=r"'z80' is no target. There are generic, x86, pi4, pi5 and auto"):
        choose_form("z80", 8, 1, 1)
    with pytest.raises(UsageError, match="7 bits a weight: there are 32, 8, 4"):
        choose_form("generic", 7, 1, 1)


def test_an_unknown_cell_is_named():
    encoder = make(0, n_mels=4, cell="gru", hidden_size=8, num_layers=1, subsampling=4, n_tokens=5)
    encoder.cell = "mamba"
    with pytest.raises(ExportError, match="knows no cell 'mamba'; it knows gru, lstm, rnn"):
        build_encoder_graph(encoder, 2)


def test_auto_measures_every_form():
    encoder = make(0, n_mels=4, cell="gru", hidden_size=8, num_layers=1, subsampling=4, n_tokens=5)
    times = time_forms(encoder, 2, 4)
    assert set(times) == set(candidates(4)) and all(value > 0 for value in times.values())
