"""The task `frames`: two tones and silence, labelled row by row, from a manifest to a device."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile
import torch

from edgeseq.data.manifest import Recording, Segment, read_manifest, write_manifest
from edgeseq.errors import ManifestError, ModelError, RecipeError, UsageError
from edgeseq.export.exporter import export
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.network import Network
from edgeseq.training import tasks
from edgeseq.training.metric import F1, ROW_ERRORS
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.tasks.frames import Settings, Task, f1
from edgeseq.training.tasks.task import PlacedClip
from edgeseq.training.trainer import load_batches, train
from edgeseq.training.weights import load_trained

RATE, ROW = 8000, 0.04
PITCHES = {"low": 400.0, "high": 1600.0}
LABELS = tuple(PITCHES)


def draw_clip(rng, seconds=1.2):
    """Silence, a tone, silence; gives sound and segments on whole rows."""
    label = str(rng.choice(LABELS))
    first, last = int(rng.integers(3, 10)), int(rng.integers(14, 26))
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * PITCHES[label] * rng.uniform(0.99, 1.01) * time)
    sound[: round(first * ROW * RATE)] = sound[round(last * ROW * RATE) :] = 0.0
    return sound.astype(np.float32), (Segment(first * ROW, last * ROW, label),)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("frames"), np.random.default_rng(0)
    for part, n in (("train", 24), ("dev", 10)):
        recordings = []
        for number in range(n):
            sound, segments = draw_clip(rng)
            path = folder / f"{part}{number}.flac"
            soundfile.write(path, sound, RATE)
            recordings.append(Recording(path, len(sound) / RATE, "", segments=segments))
        write_manifest(folder / f"{part}.jsonl", recordings)
    return folder


def recipe_of(corpus, task=None, **parts):
    values = {
        "name": "tones",
        "task": {"kind": "frames", "labels": list(LABELS)} | (task or {}),
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "sine tones",
        "network": {"hidden_size": 24, "num_layers": 1, "dropout": 0.0},
        "data": {"train": [{"manifest": str(corpus / "train.jsonl"), "easy": True}], "valid": [str(corpus / "dev.jsonl")]},
        "joining": {"row_seconds": 1.5},
        "train": {"steps": 200, "batch_size": 12, "lr": 1e-2, "easy_steps": 200, "ramp_steps": 0, "warmup_steps": 10}
        | {"valid_every": 200, "checkpoint_every": 200},
    }
    return parse_recipe(values | parts, "test")


@pytest.fixture(scope="module", params=["sigmoid", "softmax"])
def run(request, corpus, tmp_path_factory):
    """A run, and what was measured at its end."""
    folder, reports = tmp_path_factory.mktemp("runs") / "tones", []
    train(recipe_of(corpus, {"activation": request.param}), folder, resume=False, report=reports.append, workers=0)
    return folder, [report for report in reports if isinstance(report, ValidReport)]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The files of the run: float and 8 bit, proven."""
    folder = tmp_path_factory.mktemp("model")
    return folder, export(load_trained(run[0]), folder, scores={}, bits=[32, 8])


def test_training_is_exact_and_says_so(run):
    _, (report,) = run
    assert report.metric == ROW_ERRORS and report.value < 1
    assert next(iter(report.values[F1].values())) > 99
    line = json.loads((run[0] / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["metric"] == "row_errors" and line["row_errors"] == report.values[ROW_ERRORS]


def test_exports_are_proven_row_by_row(exported):
    folder, result = exported
    assert result.unproven == "" and [tally.unit for tally in result.proof.tallies] == ["row"]
    assert list(result.proof.main.heard) == ["torch_whole", "torch_streamed", "float32", "int8"]
    assert result.proof.main.errors("torch_whole") == result.proof.main.errors("torch_streamed")
    metadata = Network(folder / "model.int8.onnx").metadata
    assert (metadata.task, metadata.format, metadata.sample_rate) == ("frames", 3, RATE)
    assert metadata.proof["row_error_rate"]["int8"] < 0.05 and metadata.details["labels"] == list(
        load_trained(folder).task.symbols
    )


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_files_say_what_torch_says(run, exported, name):
    trained, network = load_trained(run[0]), Network(exported[0] / name)
    torch_network = TorchNetwork(trained.model, network.metadata)
    sound, _ = draw_clip(np.random.default_rng(7))
    ours, theirs = network.init_state(), torch_network.init_state()
    for chunk in sound[: len(sound) // 640 * 640].reshape(-1, 1, 640):
        one, ours = network.step({"audio": chunk}, ours)
        other, theirs = torch_network.step({"audio": chunk}, theirs)
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4 if name == "model.onnx" else 0.1)


def test_a_resumed_training_equals_an_uninterrupted_one(corpus, tmp_path):
    recipe = recipe_of(corpus, train={"steps": 8, "batch_size": 4, "easy_steps": 2, "ramp_steps": 2, "checkpoint_every": 4})
    steps = []
    whole = train(recipe, tmp_path / "whole", resume=False, report=lambda _: None, workers=0)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", resume=False, report=steps.append, workers=0, stop=lambda: len(steps) >= 3)
    resumed = train(recipe, tmp_path / "cut", resume=True, report=lambda _: None, workers=1)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_rows_are_labelled_by_their_middle():
    task = Task(Settings(labels=LABELS), 0.1)
    recording = Recording(None, 1.0, "", segments=(Segment(0.1, 0.35, "low"), Segment(0.5, 0.7, "high")))
    (placed,) = [PlacedClip(recording, 0.2, 2.0)]  # played twice as quickly, from 0.2 s on
    labels = task.target([placed], 8)
    assert labels[:, 0].nonzero()[0].tolist() == [2, 3] and labels[:, 1].nonzero()[0].tolist() == [
        4
    ]  # 0.25 to 0.375, 0.45 to 0.55
    following = replace(recording, segments=(Segment(0.0, 0.2, "high"),))
    both = task.target([PlacedClip(replace(recording, segments=()), 0.0, 1.0), PlacedClip(following, 1.0, 1.0)], 13)
    assert both[:, 1].nonzero()[0].tolist() == [10, 11]
    going_on = task.target([PlacedClip(recording, -0.2, 1.0)], 8)  # the row continues what the one before began
    assert going_on[:, 0].nonzero()[0].tolist() == [0] and going_on[:, 1].nonzero()[0].tolist() == [3, 4]


def test_what_is_not_labelled_is_background():
    task = tasks.restore(recipe_of_labels(activation="softmax"), {})
    assert task.symbols == ("none", "low", "high") and task.activation == "softmax"
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=np.float32)
    assert task.decide(rows).tolist() == [[False, False], [False, True]]
    nothing, high = task.collate([np.zeros((2, 2), bool)]), task.collate([np.array([[0, 0], [0, 1]], bool)])
    probabilities = torch.from_numpy(rows)[None]
    assert task.loss(probabilities, nothing) == pytest.approx(-np.log(0.5) - np.log(0.1), rel=1e-5)
    assert task.loss(probabilities, high) == pytest.approx(-np.log(0.5) - np.log(0.7), rel=1e-5)


def recipe_of_labels(**task):
    return parse_recipe(
        {
            "name": "x",
            "task": {"kind": "frames", "labels": list(LABELS), **task},
            "language": "zxx",
            "license": "CC0-1.0",
            "data_statement": "-",
            "data": {"train": [{"manifest": "a", "easy": True}]},
        },
        "test",
    )


def test_a_recipe_says_by_how_much_rows_are_late():
    task = recipe_of_labels(delay_seconds=0.12).task
    assert task.on_device(0.04).delay_seconds == 0.12 and recipe_of_labels().task.on_device(0.04).delay_seconds == 0
    with pytest.raises(RecipeError, match="'delay_seconds' is 4000; wanted 0 to 3600"):
        recipe_of_labels(delay_seconds=4000)


def test_f1_counts_each_label_alike():
    found = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], bool)
    wanted = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], bool)
    assert f1(found, wanted) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ({"kind": "vad"}, "there is no task 'vad'; there are ctc, frames, next_token"),
        ({"kind": "frames"}, "labels"),
        ({"kind": "frames", "labels": []}, "labels"),
        ({"kind": "frames", "labels": ["a"], "activation": "relu"}, "activation"),
        (
            {"kind": "frames", "labels": ["a"], "release": 0.9},
            "'release' is 0.9; wanted more than 0, at most the lowest threshold",
        ),
        ({"kind": "frames", "labels": ["a"], "threshold": {"b": 0.5}}, "'threshold' is about b"),
        ({"kind": "frames", "labels": ["none"], "activation": "softmax"}, "'background' (none) is among the labels"),
        ("speech", "there is no task 'speech'"),
        (7, "there is no task 7"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(corpus, task, wanted):
    with pytest.raises(RecipeError) as refused:
        parse_recipe(recipe_of(corpus).model_dump(mode="json") | {"task": task}, "test")
    assert wanted in str(refused.value)


def test_recordings_without_segments_and_unknown_labels_are_listed(corpus, tmp_path):
    lines = (corpus / "train.jsonl").read_text().splitlines()
    spoilt = [json.loads(line) for line in lines[:3]]
    for line in spoilt:
        line["audio_filepath"] = str(corpus / line["audio_filepath"])
    del spoilt[0]["segments"]
    spoilt[0]["text"] = "hello"
    spoilt[1]["segments"][0]["label"] = "middle"
    path = tmp_path / "spoilt.jsonl"
    path.write_text("\n".join(map(json.dumps, spoilt)) + "\n")
    with pytest.raises(ManifestError) as refused:
        load_batches(recipe_of(corpus, data={"train": [{"manifest": str(path), "easy": True}]}))
    assert "has no 'segments'" in str(refused.value) and "has the labels middle; task.labels" in str(refused.value)
    with pytest.raises(ManifestError, match="has no 'segments'"):
        train(
            recipe_of(corpus, data={"train": [{"manifest": str(corpus / "train.jsonl"), "easy": True}], "valid": [str(path)]}),
            tmp_path / "run",
            resume=False,
            report=lambda _: None,
        )


@pytest.mark.parametrize(
    "segments",
    [
        {},
        [1],
        [{"start": 0, "end": 1}],
        [{"start": 0.5, "end": 0.5, "label": "a"}],
        [{"start": -1, "end": 1, "label": "a"}],
        [{"start": 0, "end": 9, "label": "a"}],
        [{"start": True, "end": 1, "label": "a"}],
        [{"start": "0", "end": 1, "label": "a"}],
    ],
)
def test_segments_that_are_none_are_named(tmp_path, segments):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"audio_filepath": "a.wav", "duration": 1.2, "text": "", "segments": segments}))
    with pytest.raises(ManifestError, match=r"line 1: 'segments'"):
        read_manifest(path, check_files=False)


def test_weights_of_another_task_are_no_beginning(corpus, run, tone_run, tmp_path):
    recipe = recipe_of(corpus, finetune={"weights": str(tone_run)})
    with pytest.raises(UsageError, match=r"finetune\.weights: the outputs of"):
        train(recipe, tmp_path / "run", resume=False, report=lambda _: None, workers=0)
    with pytest.raises(UsageError, match="is trained for the task 'frames', which gives no words"):
        _ = load_trained(run[0]).tokens


def test_a_file_of_an_unknown_task_is_refused(exported, tmp_path):
    import onnx

    model = onnx.load(exported[0] / "model.onnx")
    for entry in model.metadata_props:
        if entry.key == "edgeseq.task":
            entry.value = "telepathy"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="telepathy"):
        Network(tmp_path / "model.onnx")
