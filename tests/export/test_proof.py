"""Error rates in four ways: counted where the network is right, and refused, by name, where one step is broken."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import command_line
import torch
import typer
from tiny_tones import FLUSH_SECONDS

from edgeseq.cli.train import train
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.export import exporter, finishing, proof, torch_network
from edgeseq.export.exporter import export
from edgeseq.export.proof import NotProvenError
from edgeseq.model.network import Network
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from edgeseq.training.weights import load_trained

WAYS = ["torch_whole", "torch_streamed", "float32", "int8"]


@pytest.fixture
def run(tone_run, tmp_path):
    """A copy of a run that has learnt two tones."""
    return Path(shutil.copytree(tone_run, tmp_path / "run"))


def test_a_run_ends_with_four_rates_in_its_files(run):
    exported = finishing.finish(run)
    written = json.loads((run / "proof.json").read_text())
    assert list(written["errors"]) == WAYS and written["words"] == 12
    assert exported.proof.main.rate("torch_whole") < 50, "it has learnt something, so that there is something to lose"
    assert written["speed"]["int8"]["rtf"] > 0 and written["bytes"]["model.int8.onnx"] > 1000
    for name in ("model.onnx", "model.int8.onnx"):
        kept = Network(run / "model" / name).metadata.proof
        assert kept["errors"] == written["errors"] and kept["manifests"] == written["manifests"]
    assert "speed" not in kept, "equal weights make equal files"


def spoil_streaming(monkeypatch):
    """The state is lost between two chunks."""
    step = torch_network.TorchNetwork.step
    forget = lambda network, inputs, state: step(network, inputs, network.init_state(len(inputs["audio"])))  # noqa: E731
    monkeypatch.setattr(torch_network.TorchNetwork, "step", forget)


def spoil_graphs(monkeypatch, *bits):
    """Graphs with silenced letters, behind the back of the comparison with torch."""
    build = exporter.build_graph

    def build_spoilt(model, metadata, form):
        if form.bits not in bits:
            return build(model, metadata, form)
        bias = model.head.linear.bias
        kept = bias.detach().clone()
        with torch.no_grad():
            bias[0] += 30.0
        try:
            return build(model, metadata, form)
        finally:
            with torch.no_grad():
                bias.copy_(kept)

    monkeypatch.setattr(exporter, "build_graph", build_spoilt)
    monkeypatch.setattr(exporter, "verify_graph", lambda *_: exporter.Difference(0.0, 0.0, 0.0))


SPOILT = {
    "streaming": spoil_streaming,
    "export": lambda monkeypatch: spoil_graphs(monkeypatch, 32, 8),
    "quantization (int8)": lambda monkeypatch: spoil_graphs(monkeypatch, 8),
}


@pytest.mark.parametrize("broken", SPOILT)
def test_what_loses_words_is_named_and_nothing_is_written(run, tmp_path, monkeypatch, broken):
    SPOILT[broken](monkeypatch)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"released before")
    with pytest.raises(NotProvenError) as refused:
        export(load_trained(run), folder, scores={}, flush_seconds=FLUSH_SECONDS)
    assert str(refused.value).startswith(f"tones is not released: {broken} changed the words")
    assert "Nothing was written" in str(refused.value) and "export.most_difference" in str(refused.value)
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert (folder / "model.onnx").read_bytes() == b"released before"


def test_a_run_that_is_refused_keeps_the_figures(run, monkeypatch):
    spoil_graphs(monkeypatch, 8)
    with pytest.raises(NotProvenError):
        finishing.finish(run)
    written = json.loads((run / "proof.json").read_text())
    assert "quantization (int8) changed the words" in written["refused"] and not (run / "model").exists()
    assert written["errors"]["int8"] > written["errors"]["float32"]


def test_training_that_is_refused_ends_with_a_report_and_exit_code_1(run, monkeypatch):
    spoil_graphs(monkeypatch, 8)
    recipe = run / "recipe.yaml"
    with pytest.raises(typer.Exit) as ended:
        train(recipe, overrides=[], out=run, resume=True, workers=0)
    assert ended.value.exit_code == 1
    assert "quantization (int8) changed the words" in (run / "report.html").read_text()


def test_a_run_that_trained_with_4_bit_is_heard_in_4_bit(run):
    saved = load_checkpoint(latest_checkpoint(run / "checkpoints"))
    train = saved.recipe["train"] | {"quantize": {"bits": 4, "from_step": 0}}
    recipe = saved.recipe | {"train": train, "export": saved.recipe["export"] | {"most_difference": 100}}
    save_checkpoint(run / "checkpoints", replace(saved, recipe=recipe))
    assert list(finishing.finish(run).proof.main.heard) == [*WAYS, "int4"]
    assert (run / "model" / "model.int4.onnx").is_file()


def test_a_wider_bound_lets_it_pass(run, tmp_path, monkeypatch):
    spoil_graphs(monkeypatch, 8)
    trained = load_trained(run)
    recipe = trained.recipe.model_copy(update={"export": trained.recipe.export.model_copy(update={"most_difference": 100.0})})
    exported = export(replace(trained, recipe=recipe), tmp_path, scores={}, flush_seconds=FLUSH_SECONDS)
    assert exported.proof.main.difference > 1 and exported.unproven == ""


def test_who_insists_gets_files_that_say_they_are_unproven(run, tmp_path, monkeypatch):
    spoil_graphs(monkeypatch, 8)
    exported = export(load_trained(run), tmp_path, scores={}, flush_seconds=FLUSH_SECONDS, unproven=True)
    assert exported.unproven.startswith("quantization (int8) changed the words: among 12 words")
    kept = Network(tmp_path / "model.int8.onnx").metadata.proof
    assert kept["unproven"] == exported.unproven and kept["errors"]["int8"] > kept["errors"]["float32"]
    told = command_line.run("models", "info", tmp_path)
    assert told.returncode == 0 and "UNPROVEN: quantization (int8) changed the words" in told.stdout


def test_unproven_marks_nothing_that_is_proven(run, tmp_path):
    exported = export(load_trained(run), tmp_path, scores={}, flush_seconds=FLUSH_SECONDS, unproven=True)
    assert exported.unproven == "" and "unproven" not in Network(tmp_path / "model.onnx").metadata.proof


def test_4_bit_alone_is_measured_from_float_on(run, tmp_path):
    exported = export(load_trained(run), tmp_path / "models", scores={}, bits=[4], flush_seconds=FLUSH_SECONDS)
    assert list(exported.proof.main.heard) == [*WAYS[:3], "int4"]
    assert [step.name for step in exported.proof.main.steps] == ["streaming", "export", "quantization (int4)"]
    assert [path.name for path in (tmp_path / "models").glob("*.onnx")] == ["model.int4.onnx"]


def test_without_validation_recordings_the_export_says_so(make_trained, tmp_path):
    exported = export(make_trained(), tmp_path, scores={}, flush_seconds=FLUSH_SECONDS)
    assert exported.proof is None and exported.unproven == "the recipe names no manifest under data.valid"
    gone = make_trained(data={"train": [{"manifest": "none.jsonl", "easy": True}], "valid": ["gone.jsonl"]})
    exported = export(gone, tmp_path, scores={}, flush_seconds=FLUSH_SECONDS)
    assert exported.proof is None and "gone.jsonl" in exported.unproven


def tally(unit, total, **errors):
    """Errors of four ways, all in one clip of so many words or phones."""
    heard = {way: [ClipResult("", "", n, total, (), 1.0, 0.1)] for way, n in errors.items()}
    return proof.Tally(unit, heard)


@pytest.mark.parametrize(
    ("phones", "words", "named"),
    [
        ((200, 204, 204, 209), (90, 91, 91, 93), ""),
        ((200, 211, 211, 211), (90, 90, 90, 90), "streaming changed the phones: among 1,000 phones 200 are wrong before it"),
        (
            (200, 200, 200, 200),
            (90, 90, 90, 94),
            "quantization (int8) changed the words: among 300 words 90 are wrong before it",
        ),
    ],
)
def test_phones_and_words_are_bound_each_by_their_own_number(phones, words, named):
    counted = proof.Proof(
        ("a",),
        (
            tally("phone", 1000, **dict(zip(WAYS, phones, strict=True))),
            tally("word", 300, **dict(zip(WAYS, words, strict=True))),
        ),
    )
    found = proof.find_difference(counted, 1.0)
    assert found.startswith(named) and bool(found) == bool(named)
    assert counted.to_dict()["phone_figures"]["per"]["int8"] == phones[3] / 1000
    assert "phones wrong" in counted.to_text() and "words wrong" in counted.to_text()


def test_recordings_without_words_are_no_division_by_zero():
    counted = proof.Proof(("a",), (tally("word", 0, **dict.fromkeys(WAYS, 2)),))
    assert counted.to_dict()["wer"]["int8"] is None and proof.find_difference(counted, 1.0) == ""


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("rows_per_step", [1, 2])
def test_torch_streamed_is_torch_whole(make_trained, cell, rows_per_step):
    """A network that talks, on noise: the same text however it is heard, row for row."""
    trained = make_trained(cell, rows_per_step=rows_per_step)
    metadata = exporter.describe(trained, "float32", 0.2, {})
    clip = Noise(2.345)
    judge = trained.task.judge(metadata)
    ((whole,),) = proof.hear_whole(trained.model, metadata, judge, [clip])
    network = torch_network.TorchNetwork(trained.model, metadata)
    ((streamed,),), speed = proof.hear_streamed(network, judge, [clip], "torch_streamed")
    assert speed.rtf > 0 and len(speed.chunk_ms) == 32
    assert whole.hypothesis == streamed.hypothesis and len(whole.hypothesis) > 5


class Noise:
    """Of changing loudness and colour."""

    text = "one"
    meaning = None

    def __init__(self, seconds):
        self.seconds = seconds

    def read(self, sample_rate):
        n_samples, generator = math.ceil(self.seconds * sample_rate), torch.Generator().manual_seed(0)
        level_db = 60 * torch.rand(n_samples // 800 + 1, generator=generator).repeat_interleave(800)[:n_samples] - 60
        tone = torch.sin(0.5 * torch.arange(n_samples) * (1 + level_db / 60))
        return ((0.1 * torch.randn(n_samples, generator=generator) + tone) * 10 ** (level_db / 20)).numpy() / 2
