"""What a trace shows is what the network does: gates, states, emissions, saliency."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny_tones import RATE, SECONDS, TONES

from edgeseq.errors import AudioError
from edgeseq.export.exporter import describe, export
from edgeseq.export.graph import build_graph
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.network import Network
from edgeseq.report.trace import metadata_of, spell, trace, trace_file, trace_layers
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import TokenTable
from edgeseq.training.cells import CELLS
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.weights import Trained, load_trained


def drawn(cell, **network):
    """Random weights."""
    torch.manual_seed(0)
    values = {"name": "drawn", "language": "en", "license": "CC0-1.0", "data_statement": "none"}
    values |= {"data": {"train": [{"manifest": "none", "easy": True}]}, "network": {"cell": cell, "hidden_size": 12, **network}}
    recipe, tokens = parse_recipe(values, "test"), TokenTable.of_characters(["one two three"])
    return Trained(recipe, Task(tokens), build_model(recipe.input, recipe.network, len(tokens)).eval())


def tone(word, seconds=SECONDS):
    return (0.3 * np.sin(2 * np.pi * TONES[word] * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("network", [{}, {"layer_norm": True, "projection_size": 8}])
def test_layers_are_those_of_torch(cell, network):
    model = drawn(cell, **network).model
    frames = torch.randn(1, 40, 32, generator=torch.Generator().manual_seed(1))
    inputs = frames.reshape(1, 10, -1)
    traced = trace_layers(model, frames)
    for layer, seen in zip(model.trunk.recurrent_layers, traced, strict=True):
        outputs = layer.rnn(inputs)[0]
        np.testing.assert_allclose(seen.outputs, outputs[0].detach(), atol=1e-5)
        assert tuple(seen.gates) == CELLS[cell].gates
        assert all(gate.shape == (10, 12) and 0 < gate.min() < gate.max() < 1 for gate in seen.gates.values())
        inputs = layer.shape(outputs)


def test_an_update_gate_forced_open_is_seen_so():
    model = drawn("gru", num_layers=1).model
    with torch.no_grad():
        model.trunk.recurrent_layers[0].rnn.bias_hh_l0[12:24] = 20.0  # r, z, n: z keeps what was
    (seen,) = trace_layers(model, torch.randn(1, 40, 32))
    assert seen.gates["update"].min() > 0.99 and 0.2 < seen.gates["reset"].mean() < 0.8
    assert np.abs(seen.outputs).max() < 0.01 and seen.saturation.max() == 0


def test_the_words_are_those_of_a_stream(tone_run):
    trained = load_trained(tone_run)
    samples = np.concatenate([tone("a"), np.zeros(2000, np.float32), tone("b")])
    seen = trace(trained, samples)
    recognizer = Recognizer(TorchNetwork(trained.model, metadata_of(trained)))
    assert [word.text for word in seen.words] == recognizer.transcribe(samples).text.split() != []
    rows = [row for word in seen.words for row in word.rows]
    assert rows == sorted(rows) and seen.log_probs.shape == (len(seen.layers[0].outputs), 4)
    assert len(seen.frames) * seen.frame_seconds == pytest.approx(seen.seconds)
    assert seen.first_frame_seconds == (100 - 120) / 8000, "the middle of a window whose first 120 samples are zeros"


def test_words_begin_where_a_token_says_so():
    """Subwords hold the beginning of a word within them."""
    tokens = TokenTable(("<blk>", "▁", "o", "n", "▁on"), scores=(0, -1, -1, -1, -1))
    path = torch.tensor([0, 4, 4, 0, 3, 4, 0, 4, 0])
    words = spell(torch.nn.functional.one_hot(path, 5).float(), tokens)
    assert [(word.text, word.rows, word.tokens) for word in words] == [
        ("onn", (1, 4), (4, 3)),
        ("on", (5,), (4,)),
        ("on", (7,), (4,)),
    ]


def test_saliency_is_what_a_small_change_of_the_input_does(tone_run):
    """Frames made larger by a thousandth change the score by a thousandth of the saliency there."""
    trained = load_trained(tone_run)
    seen = trace(trained, tone("a"))
    word, model = seen.words[0], trained.model.double()

    def score(frames):
        with torch.no_grad():
            outputs, _ = model.trunk.step(torch.from_numpy(frames)[None], model.trunk.init_state(1))
            log_probs = model.head(outputs)
        return float(log_probs[0, list(word.rows), list(word.tokens)].sum())

    frames = seen.frames.astype(np.float64)
    for part in (np.s_[:, :16], np.s_[:, 16:], np.s_[4:12, :]):
        larger, smaller = frames.copy(), frames.copy()
        larger[part] *= 1.001
        smaller[part] *= 0.999
        change = (score(larger) - score(smaller)) / 0.002
        assert change == pytest.approx(float(word.saliency[part].sum()), rel=1e-2, abs=1e-4)
    after_the_word = word.rows[-1] + 1
    assert np.abs(word.saliency[4 * after_the_word :]).max() == 0, "what comes later moves nothing"


def test_a_file_without_weights_shows_what_it_says(tone_run, tmp_path):
    trained = load_trained(tone_run)
    exported = export(trained, tmp_path, scores={}, flush_seconds=0.3)
    network = Network(exported.files[0].path)
    seen, wanted = trace_file(network, tone("b")), trace(trained, tone("b"))
    assert [word.text for word in seen.words] == [word.text for word in wanted.words] == ["b"]
    n_rows = min(len(seen.log_probs), len(wanted.log_probs))
    np.testing.assert_allclose(seen.log_probs[:n_rows], wanted.log_probs[:n_rows], atol=2e-3)
    loudest = seen.frames[5:25].mean(axis=0).argmax() * 40  # bins of a window of 25 ms
    assert abs(loudest - TONES["b"]) <= 40 and not seen.layers and seen.words[0].saliency is None


def test_hardly_any_sound_is_refused(tone_run, tmp_path):
    with pytest.raises(AudioError, match=r"has 0.010 s of sound here; wanted are at least 0.05 s"):
        trace(load_trained(tone_run), np.zeros(80, np.float32))


def test_the_metadata_is_that_of_an_export(tone_run):
    trained = load_trained(tone_run)
    assert metadata_of(trained) == describe(trained, "float32", 0.3, {})
    assert build_graph(trained.model, metadata_of(trained))
