"""Inputs other than sound: symbols and values, from a manifest to a device, labelled by the task `frames`."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import edgeseq
from edgeseq.data.manifest import read_manifest, write_manifest
from edgeseq.data.sequences import read_sequence
from edgeseq.errors import ManifestError, RecipeError, UsageError
from edgeseq.export.exporter import export
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.network import Network, rows_of
from edgeseq.model.signature import Port
from edgeseq.models import verify
from edgeseq.training.metric import ROW_ERRORS
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.trainer import load_batches, train
from edgeseq.training.weights import load_trained

LENGTHS = (20, 90)
KINDS = {
    "ids": {"kind": "ids", "symbols": "ACGT", "embedding_size": 8},
    "values": {"kind": "values", "columns": ["x", "y"], "rate": 10},
}


def draw_line(kind, rng):
    """A sequence, with a segment after each GT (ids), or wherever x is above y (values)."""
    n = int(rng.integers(*LENGTHS))
    if kind == "ids":
        text = "".join(rng.choice(list("ACGT"), n))
        ends = [place + 1 for place in range(1, n) if text[place - 1 : place + 1] == "GT"]
        return {"ids": text, "segments": [{"start": end - 1, "end": end, "label": "GT"} for end in ends]}
    values = 100 + rng.normal(0, 20, (n, 2)).round(2)
    above = np.flatnonzero(values[:, 0] > values[:, 1])
    segments = [{"start": int(at) / 10, "end": (int(at) + 1) / 10, "label": "GT"} for at in above]
    return {"values": values.tolist(), "rate": 10, "segments": segments}


def write_lines(path, lines):
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def corpus(kind, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp(kind), np.random.default_rng(0)
    for part, n in (("train", 60), ("dev", 15)):
        write_lines(folder / f"{part}.jsonl", [draw_line(kind, rng) for _ in range(n)])
    return folder


def recipe_of(folder, kind, **parts):
    values = {
        "name": "marks",
        "input": KINDS[kind],
        "task": {"kind": "frames", "labels": ["GT"]},
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "drawn",
        "network": {"hidden_size": 24, "num_layers": 1, "dropout": 0.0, "subsampling": 1},
        "data": {"train": [{"manifest": str(folder / "train.jsonl")}], "valid": [str(folder / "dev.jsonl")]},
        "joining": {"row_length": 32},
        "export": {"chunk_steps": 4},
        "train": {"steps": 200, "batch_size": 16, "lr": 1e-2, "warmup_steps": 10, "valid_every": 200, "checkpoint_every": 200},
    }
    return parse_recipe(values | parts, "test")


@pytest.fixture(scope="module")
def run(corpus, kind, tmp_path_factory):
    folder, reports = tmp_path_factory.mktemp("runs") / "marks", []
    train(recipe_of(corpus, kind), folder, resume=False, report=reports.append, workers=0)
    return folder, [report for report in reports if isinstance(report, ValidReport)]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, export(load_trained(run[0]), folder, scores={}, bits=[32, 8, 4])


def test_rows_are_pieces_of_sequences_that_go_on(corpus, kind):
    batches = load_batches(recipe_of(corpus, kind))
    (source,) = batches.sources
    place, follows = {}, 0
    for step in range(24):
        plan, batch = batches.plan(step), batches[step]
        assert plan.n_units == max(row.n_units for row in plan.rows) <= 32
        for number, row in enumerate(plan.rows):
            (clip,) = row.clips
            assert clip.begin + clip.n_units <= round(source.durations[clip.recording] * batches.recipe.input.rate)
            if not row.restart:
                assert place[number] == (clip.recording, clip.begin)
                follows += 1
            place[number] = (clip.recording, clip.begin + clip.n_units)
            whole = read_sequence(source.recordings[clip.recording], batches.recipe.input.port(1))
            np.testing.assert_array_equal(batch.units[number, : clip.n_units], whole[clip.begin :][: clip.n_units])
            assert batch.lengths[number] == clip.n_units and batch.targets["lengths"][number] == clip.n_units
        assert batch.count == sum(row.n_units for row in plan.rows)
    assert follows > 20


def test_targets_are_where_their_symbols_are(corpus, kind):
    batches = load_batches(recipe_of(corpus, kind))
    for step in (0, 3):
        batch = batches[step]
        rows = zip(batch.units, batch.targets["labels"], batch.restart, batch.lengths, strict=True)
        for row, labels, restart, length in rows:
            found = labels[:length, 0].tolist()
            if kind == "values":
                assert found == (row[:length, 0] > row[:length, 1]).tolist()
            elif restart:
                text = "".join("ACGT"[id] for id in row[:length].tolist())
                assert found[1:] == [text[at - 1 : at + 1] == "GT" for at in range(1, len(text))]


def test_filling_does_not_count(corpus, kind):
    task = load_batches(recipe_of(corpus, kind)).task
    targets = [np.zeros((5, 1), bool), np.ones((2, 1), bool)]
    rows = torch.rand(2, 7, 1).clamp(0.1, 0.9)
    loss = task.loss(rows, task.collate(targets))
    wanted = -torch.log(1 - rows[0, :5]).sum() - torch.log(rows[1, :2]).sum()
    torch.testing.assert_close(loss, wanted)


def test_it_learns(run):
    _, (report,) = run
    assert report.metric == ROW_ERRORS and report.value < 5


def test_statistics_are_those_of_the_training_data(run, kind):
    if kind == "values":
        layer = load_trained(run[0]).model.frontend
        assert (layer.mean - 100).abs().max() < 3 and (layer.std - 20).abs().max() < 3


def test_exports_are_proven(exported, kind):
    folder, result = exported
    assert result.unproven == "" and list(result.proof.main.heard)[-2:] == ["int8", "int4"]
    assert result.proof.main.errors("torch_whole") == result.proof.main.errors("torch_streamed")
    metadata = Network(folder / "model.int8.onnx").metadata
    assert (metadata.task, metadata.format, metadata.signature.input.name) == ("frames", 3, kind)
    assert metadata.signature.input.names == (("A", "C", "G", "T") if kind == "ids" else ("x", "y"))
    assert [what for what, _ in verify(folder / "model.int8.onnx")][-1] == "chunks equal the whole"


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "model.int4.onnx"])
def test_files_say_what_torch_says(run, exported, corpus, name):
    trained, network = load_trained(run[0]), Network(exported[0] / name)
    for recording in read_manifest(corpus / "dev.jsonl")[:4]:
        units = read_sequence(recording, network.metadata.signature.input)[None]
        found, wanted = rows_of(network, units), rows_of(TorchNetwork(trained.model, network.metadata), units)
        np.testing.assert_allclose(found, wanted, atol=1e-4 if name == "model.onnx" else 0.5)
        whole = trained.model.step(torch.from_numpy(units), trained.model.init_state(1))[0].detach().numpy()
        np.testing.assert_allclose(wanted[:, : whole.shape[1]], whole, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_device_hears_the_same_in_any_pieces(exported, corpus, size):
    spotter = edgeseq.load(exported[0])
    recording = read_manifest(corpus / "dev.jsonl")[0]
    units = read_sequence(recording, spotter.port)
    state, events = spotter.init_state(), []
    for begin in range(0, len(units), size):
        new, state = spotter.step(units[begin : begin + size], state)
        events += new
    events += spotter.flush(spotter.restore(spotter.save(state)))[0]
    whole, state = spotter.step(units, spotter.init_state())
    assert events == whole + spotter.flush(state)[0]
    assert all(event.end is None or event.end <= recording.duration + 1e-9 for event in events) and events


def test_a_device_refuses_what_the_model_does_not_take(exported, kind):
    spotter = edgeseq.load(exported[0])
    for units in (np.zeros(3, np.float32), np.zeros(3, np.int32), [1, 2]):
        with pytest.raises(UsageError, match=f"the {kind} are .*; wanted a numpy array of"):
            spotter.step(units, spotter.init_state())
    wrong = np.array([0, 4]) if kind == "ids" else np.array([[0, 0], [np.nan, 1]], np.float32)
    with pytest.raises(UsageError, match="wanted 0 to 3" if kind == "ids" else "unit 1 of the values"):
        spotter.step(wrong, spotter.init_state())
    with pytest.raises(UsageError, match="no sound"):
        spotter.detect("a.wav")


def test_a_resumed_training_equals_an_uninterrupted_one(corpus, kind, tmp_path):
    recipe = recipe_of(corpus, kind, train={"steps": 12, "batch_size": 4, "checkpoint_every": 4, "valid_every": 100})
    steps = []
    whole = train(recipe, tmp_path / "whole", resume=False, report=lambda _: None, workers=0)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", resume=False, report=steps.append, workers=0, stop=lambda: len(steps) >= 5)
    resumed = train(recipe, tmp_path / "cut", resume=True, report=lambda _: None, workers=1)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_manifests_are_written_as_they_were_read(corpus, tmp_path):
    recordings = read_manifest(corpus / "dev.jsonl")
    write_manifest(tmp_path / "again.jsonl", recordings)
    again = read_manifest(tmp_path / "again.jsonl")
    assert [(one.units, one.segments, one.duration) for one in again] == [
        (one.units, one.segments, one.duration) for one in recordings
    ]


def test_sequences_are_read_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("CATTAG", encoding="utf-8")
    (tmp_path / "a.csv").write_text("date,y,x\nmon,1,2.5\ntue,3,4\nwed,5,6\n", encoding="utf-8")
    np.save(tmp_path / "a.npy", np.array([3, 1, 0]))
    lines = [
        {"ids_filepath": "a.txt", "offset": 1, "duration": 3},
        {"ids_filepath": "a.npy", "duration": 3},
        {"values_filepath": "a.csv", "duration": 1, "offset": 0.5, "rate": 2},
        {"ids": [1, 2]},
        {"ids": ["T", "G"]},
    ]
    recordings = read_manifest(write_lines(tmp_path / "m.jsonl", lines))
    ids, values = Port("ids", "int64", 1, (), 1.0, tuple("ACGT")), Port("values", "float32", 1, (2,), 2.0, ("x", "y"))
    assert [read_sequence(recordings[n], ids).tolist() for n in (0, 1, 3, 4)] == [[0, 3, 3], [3, 1, 0], [1, 2], [3, 2]]
    assert read_sequence(recordings[2], values).tolist() == [[4, 3], [6, 5]]
    with pytest.raises(ManifestError, match="has no column 'z'"):
        read_sequence(recordings[2], Port("values", "float32", 1, (1,), 2.0, ("z",)))
    with pytest.raises(ManifestError, match="has 2 units a second, and the model takes 1"):
        read_sequence(recordings[2], Port("values", "float32", 1, (2,), 1.0, ("x", "y")))
    with pytest.raises(ManifestError, match="holds the symbol 'T'"):
        read_sequence(recordings[0], Port("ids", "int64", 1, (), 1.0, tuple("ACG")))
    with pytest.raises(ManifestError, match="holds ids; the model takes 'values'"):
        read_sequence(recordings[0], values)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"ids": ""}, "'ids' is ''"),
        ({"ids": [1, "a"]}, "'ids' is"),
        ({"ids": [1.5]}, "'ids' is"),
        ({"values": [[1, 2], [3]]}, "'values' is"),
        ({"values": [float("nan")]}, "NaN|'values' is"),
        ({"values": [1], "ids": [1]}, "are both there"),
        ({"audio_filepath": "a.wav", "ids": [1]}, "are both there"),
        ({"ids": [1], "rate": 0}, "'rate' is 0"),
        ({"ids_filepath": "a.bin", "duration": 3}, "ends in .txt or .npy"),
        ({"values_filepath": "a.csv"}, "'duration' is missing"),
        ({"values_filepath": "a.csv", "duration": 2}, "no file"),
    ],
)
def test_lines_that_make_no_sense_are_named(tmp_path, line, words):
    with pytest.raises(ManifestError, match=words):
        read_manifest(write_lines(tmp_path / "m.jsonl", [line]))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"input": {"kind": "ids", "symbols": "AA"}}, "input.symbols: .*'A' stands there twice"),
        ({"input": {"kind": "ids"}}, "input.symbols: missing"),
        ({"input": {"kind": "ids", "symbols": "AB", "size": 4}}, "input.size: unknown key; known here: .*symbols"),
        ({"input": {"kind": "values", "columns": []}}, "input.columns"),
        ({"augment": {"speed": [1, 2]}}, "augment: it is about sound"),
        ({"joining": {"row_length": 30, "restart": 0.5}}, "joining .except for 'row_length'.: it is about sound"),
        ({"joining": {"row_length": 30}, "network": {"subsampling": 4}}, "not a multiple of a step"),
        ({"frontend": {"kind": "log_mel"}}, "two names of one key"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(tmp_path, parts, words):
    with pytest.raises(RecipeError, match=words):
        recipe_of(tmp_path, "ids", **parts)


def test_sound_in_the_place_of_symbols_is_refused(tmp_path, tone_corpus):
    for parts in ({"data": {"train": [{"manifest": str(tone_corpus)}]}},):
        with pytest.raises(ManifestError, match=r"the line holds 'audio', and the recipe's input is 'ids' \(input.kind: ids\)"):
            load_batches(recipe_of(tmp_path, "ids", **parts))


def test_a_recipe_says_its_kind_and_words_want_sound(tmp_path):
    recipe = recipe_of(tmp_path, "values")
    assert parse_recipe(recipe.model_dump(mode="json"), "stored") == recipe
    assert (recipe.step_units, recipe.row_seconds, recipe.chunk_units) == (1, 0.1, 4)
    with pytest.raises(UsageError, match="its input is of the kind 'values', and sound is wanted"):
        _ = recipe.frontend
