"""The task `next_token`: a tiny text, from a manifest to a generator on a device."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import edgeseq
from edgeseq.errors import ModelError, RecipeError, UsageError
from edgeseq.export.exporter import export
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.network import Network, rows_of
from edgeseq.models import verify
from edgeseq.stream.generator import Generator
from edgeseq.stream.spotter import Spotter
from edgeseq.training.metric import BITS, PERPLEXITY
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.tasks.next_token import following
from edgeseq.training.trainer import load_batches, train
from edgeseq.training.weights import load_trained

WORDS = ("one ", "two ", "three ")
SYMBOLS = "".join(sorted(set("".join(WORDS))))


def write_text(n_words, seed):
    return "".join(np.random.default_rng(seed).choice(WORDS, n_words))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A long text in a file, and short lines to measure on."""
    folder = tmp_path_factory.mktemp("text")
    text = write_text(1500, 0)
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "train.jsonl").write_text(json.dumps({"ids_filepath": "text.txt", "duration": len(text)}) + "\n")
    lines = [json.dumps({"ids": write_text(30, seed)}) for seed in range(1, 6)]
    (folder / "valid.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def recipe_of(folder, **parts):
    values = {
        "name": "words",
        "input": {"kind": "ids", "symbols": SYMBOLS, "embedding_size": 8},
        "task": "next_token",
        "language": "en",
        "license": "CC0-1.0",
        "data_statement": "drawn",
        "network": {"hidden_size": 32, "num_layers": 1, "dropout": 0.0, "subsampling": 1},
        "data": {"train": [{"manifest": str(folder / "train.jsonl")}], "valid": [str(folder / "valid.jsonl")]},
        "joining": {"row_length": 24},
        "train": {"steps": 250, "batch_size": 16, "lr": 1e-2, "warmup_steps": 10, "valid_every": 250, "checkpoint_every": 250},
    }
    return parse_recipe(values | parts, "test")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    folder, reports = tmp_path_factory.mktemp("runs") / "words", []
    train(recipe_of(corpus), folder, resume=False, report=reports.append, workers=0)
    return folder, [report for report in reports if isinstance(report, ValidReport)]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, export(load_trained(run[0]), folder, scores={}, bits=[32, 8])


@pytest.fixture(scope="module")
def generator(exported):
    return edgeseq.load(exported[0])


def test_targets_are_the_symbols_that_follow(corpus):
    batches = load_batches(recipe_of(corpus))
    text = (corpus / "text.txt").read_text()
    for step in range(4):
        plan, batch = batches.plan(step), batches[step]
        for row, planned in enumerate(plan.rows):
            (clip,) = planned.clips
            wanted = [SYMBOLS.index(symbol) for symbol in text[clip.begin + 1 : clip.begin + 1 + clip.n_units]]
            assert batch.targets["next"][row, : len(wanted)].tolist() == wanted
        assert batch.count == (batch.targets["next"] >= 0).sum()


def test_the_loss_is_the_cross_entropy_of_what_follows(corpus):
    task = load_batches(recipe_of(corpus)).task
    targets = task.collate([following(np.array([0, 2, 1]), 3), following(np.array([1, 1]), 2)])
    rows = torch.randn(2, 3, len(SYMBOLS)).log_softmax(-1)
    torch.testing.assert_close(task.loss(rows, targets), -(rows[0, 0, 2] + rows[0, 1, 1] + rows[1, 0, 1]))


def test_it_learns_what_can_be_known(run):
    """Three words, all alike: log2(3) bits a word, of four and two thirds characters."""
    _, (report,) = run
    least = math.log2(3) / np.mean([len(word) for word in WORDS])
    assert report.metric == BITS and least - 0.03 < report.value < least + 0.1
    (perplexity,) = report.values[PERPLEXITY].values()
    assert perplexity == pytest.approx(2**report.value)
    line = json.loads((run[0] / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["metric"] == "bits"


def test_exports_are_proven(exported):
    folder, result = exported
    assert result.unproven == "" and [tally.unit for tally in result.proof.tallies] == ["symbol"]
    assert result.proof.main.errors("torch_whole") == result.proof.main.errors("torch_streamed")
    metadata = Network(folder / "model.int8.onnx").metadata
    assert (metadata.task, metadata.details, metadata.signature.input.names) == ("next_token", {}, tuple(SYMBOLS))
    assert "symbol_error_rate" in metadata.proof
    assert [what for what, _ in verify(folder / "model.int8.onnx")][-1] == "chunks equal the whole"


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_files_say_what_torch_says(run, exported, name):
    trained, network = load_trained(run[0]), Network(exported[0] / name)
    ids = Generator(network).encode(write_text(20, 9))[None]
    found, streamed = rows_of(network, ids), rows_of(TorchNetwork(trained.model, network.metadata), ids)
    whole = trained.model.step(torch.from_numpy(ids), trained.model.init_state(1))[0].detach().numpy()
    np.testing.assert_allclose(streamed, whole, atol=1e-5)
    probabilities = 1e-4 if name == "model.onnx" else 0.1
    np.testing.assert_allclose(np.exp(found), np.exp(whole), atol=probabilities)


def test_scores_are_those_of_the_whole(run, exported):
    generator, trained = Generator(Network(exported[0] / "model.onnx")), load_trained(run[0])
    text = write_text(10, 11)
    ids = generator.encode(text)
    rows = trained.model.step(torch.from_numpy(ids)[None], trained.model.init_state(1))[0][0].detach().numpy()
    scores = generator.score(text)
    assert scores[0] == pytest.approx(-math.log(len(SYMBOLS)))
    np.testing.assert_allclose(scores[1:], rows[np.arange(len(ids) - 1), ids[1:]], atol=1e-4)
    first, state = generator.step(ids[:7], generator.init_state())
    assert first + generator.step(ids[7:], state)[0] == scores
    assert sum(generator.score("one two ")) > sum(generator.score("owt eno ")) + 5


def test_it_writes_words_the_same_for_the_same_seed(generator):
    _, state = generator.step(generator.encode("one "), generator.init_state())
    ids, _ = generator.generate(120, state, temperature=0.5, seed=3)
    text = "".join(generator.decode(ids))
    words = text.split()[:-1]
    assert np.mean([f"{word} " in WORDS for word in words]) > 0.9 and len(set(words)) == 3
    first, middle = generator.generate(50, state, temperature=0.5, seed=3)
    last, _ = generator.generate(70, middle, temperature=0.5, seed=3)
    assert np.concatenate([first, last]).tolist() == ids.tolist()
    assert generator.generate(120, state, temperature=0.5, seed=4)[0].tolist() != ids.tolist()
    likeliest = [generator.generate(20, state, temperature=0, seed=seed)[0].tolist() for seed in (0, 1)]
    assert likeliest[0] == likeliest[1]


def test_a_wrong_use_is_told(generator, exported, corpus):
    with pytest.raises(UsageError, match="'q' is none of the"):
        generator.score("quo")
    with pytest.raises(UsageError, match="wanted 0 to"):
        generator.step(np.array([99]), generator.init_state())
    with pytest.raises(UsageError, match="the temperature is -1"):
        generator.generate(1, generator.init_state(), temperature=-1)
    with pytest.raises(UsageError, match="task 'next_token'"):
        Spotter(generator.network)
    with pytest.raises(RecipeError, match="wants a row for each symbol"):
        load_batches(recipe_of(corpus, network={"subsampling": 2}))


def test_a_file_that_does_not_fit_the_task_is_refused(exported, tmp_path):
    import onnx

    model = onnx.load(exported[0] / "model.onnx")
    for entry in model.metadata_props:
        if entry.key == "edgeseq.signature":
            entry.value = entry.value.replace('"names"', '"noise"')
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="'ids' with 0 names"):
        Network(tmp_path / "model.onnx")
