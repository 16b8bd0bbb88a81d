"""Metadata: complete, checked, all faults at once."""

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")
import onnx
import tone_frames as frames
from tone_language import metadata

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.metadata import FORMAT, TASKS, CtcMetadata, ModelMetadata, stored_fields
from edgeseq.model.metadata_fields import READERS
from edgeseq.model.signature import Port

RELEASED = sorted(Path(__file__).parents[2].glob("models/*/*.onnx"))


def test_it_comes_back_from_its_strings():
    written = metadata(scores={"wer": 0.01}, flush_seconds=0.24)
    assert ModelMetadata.from_strings(written.to_strings(), "m.onnx") == written


def test_all_faults_are_listed():
    strings = metadata().to_strings()
    del strings["edgeseq.language"]
    strings |= {"edgeseq.sample_rate": "0", "edgeseq.flush_seconds": "soon", "edgeseq.tokens": '["a"]', "edgeseq.config": "{"}
    with pytest.raises(ModelError) as caught:
        ModelMetadata.from_strings(strings, "m.onnx")
    message = str(caught.value)
    wanted = ("language' is missing", "at least 1", "wanted a number", "holds no <blk>", "not JSON")
    assert [words for words in wanted if words not in message] == []


@pytest.mark.parametrize("strings", [{}, {"other": "1"}])
def test_foreign_onnx_files_are_told_apart(strings):
    with pytest.raises(ModelError, match="not one of edgeseq's"):
        ModelMetadata.from_strings(strings, "m.onnx")


def test_a_newer_format_asks_for_an_update():
    strings = metadata().to_strings() | {"edgeseq.format": str(FORMAT + 1)}
    with pytest.raises(ModelError, match="Update edgeseq"):
        ModelMetadata.from_strings(strings, "m.onnx")


def test_files_of_before_delays_and_confidences_were_measured():
    strings = metadata().to_strings()
    for key in ("emission_delay_seconds", "ending_delay_seconds", "confidence_maps"):
        del strings["edgeseq." + key]
    assert ModelMetadata.from_strings(strings, "m.onnx") == metadata()


def test_the_threshold_of_phrases_is_there_where_it_was_measured():
    assert "edgeseq.phrase_threshold" not in metadata().to_strings()
    strings = metadata(phrase_threshold=-0.31).to_strings()
    assert ModelMetadata.from_strings(strings, "m.onnx").phrase_threshold == -0.31
    for wrong in ("0.5", "nan", "-inf", "low"):
        with pytest.raises(ModelError, match=r"phrase_threshold': wanted a number"):
            ModelMetadata.from_strings(strings | {"edgeseq.phrase_threshold": wrong}, "m.onnx")


SUBWORDS = {"tokens": ("<blk>", "▁", "a", "▁a"), "token_details": {"kind": "subwords", "scores": [0.0, -1.5, -2.0, -0.5]}}
PHONES = {"tokens": ("<blk>", "▁", "AH"), "token_details": {"kind": "phones", "lexicon": "uh AH\n"}}


@pytest.mark.parametrize(("fields", "kind"), [({}, "characters"), (SUBWORDS, "subwords"), (PHONES, "phones")])
def test_kinds_of_tokens_come_back(fields, kind):
    written = metadata(**fields)
    assert ("edgeseq.token_details" in written.to_strings()) == (kind != "characters")  # older files have none
    read = ModelMetadata.from_strings(written.to_strings(), "m.onnx")
    assert read == written and read.token_table.kind == kind


def test_token_details_that_do_not_fit_are_told():
    strings = metadata(**SUBWORDS).to_strings() | {"edgeseq.token_details": '{"kind": "subwords", "scores": [1]}'}
    with pytest.raises(ModelError, match="token_details': 1 scores for 4 tokens"):
        ModelMetadata.from_strings(strings, "m.onnx")


def test_words_say_what_goes_in_and_comes_out():
    ports = metadata().signature
    assert (ports.audio, ports.rows) == (
        Port("audio", "float32", 640, (), 8000.0),
        Port("log_probs", "float32", 2, (28,), 25.0),
    )
    changed = replace(metadata(), chunk_samples=1280)
    assert changed.signature.rows.per_chunk == 4 and changed.sample_rate == 8000


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_released_files_are_written_as_they_are(path):
    """Neither a key nor their order has changed since."""
    strings = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    read = ModelMetadata.from_strings(strings, path)
    assert isinstance(read, CtcMetadata)
    written = read.to_strings()
    assert list(strings) == [key for key in written if key in strings]
    parsed = [{k: json.loads(v) if v[:1] in "[{" else v for k, v in one.items() if k in strings} for one in (written, strings)]
    assert parsed[0] == parsed[1]


@pytest.mark.parametrize("strings", [metadata().to_strings(), frames.metadata().to_strings()], ids=["format 1", "format 3"])
def test_a_task_that_nobody_knows_is_refused(strings):
    with pytest.raises(
        ModelError, match=r"of the task 'telepathy'; this edgeseq knows ctc, frames, next_token\.\n  Update edgeseq"
    ):
        ModelMetadata.from_strings(strings | {"edgeseq.task": "telepathy"}, "m.onnx")


def test_another_task_comes_back_from_its_strings():
    written = frames.metadata("softmax", language="en", scores={"f1": 0.9}, proof={"errors": {}})
    strings = written.to_strings()
    assert strings["edgeseq.format"] == "3" and "edgeseq.tokens" not in strings
    assert ModelMetadata.from_strings(strings, "m.onnx") == written
    assert (written.sample_rate, written.chunk_samples, written.step_samples) == (8000, 640, 160)
    with pytest.raises(
        UsageError, match=r"tone-frames is a model of the task 'frames', which gives no words; .*\n.*edgeseq detect"
    ):
        CtcMetadata.of(written)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"format": 2}, "the task 'frames' is written in format 3"),
        ({"flush_seconds": 61.0}, "flush_seconds': wanted 0 to 60"),
        ({"details": frames.details(labels=["low"], threshold=0.5)}, "1 labels want 'scores' float32 [1]"),
        ({"details": frames.details(row_seconds=0.04)}, "'row_seconds' is 0.04, and the output gives 50.0 rows a second"),
        ({"details": frames.details(labels=[])}, "details': 'labels' holds []"),
        ({"details": frames.details(labels=["a", "a"])}, "wanted each label once"),
        ({"details": frames.details(activation="tanh")}, "wanted sigmoid or softmax"),
        ({"details": frames.details(threshold={"loud": 0.5})}, "is about loud; wanted some of low, high"),
        ({"details": frames.details(threshold={})}, "is about no label"),
        ({"details": frames.details(threshold=1.5)}, "'threshold' holds 1.5; wanted a probability"),
        ({"details": frames.details(release=0.7)}, "'release' is 0.7; wanted more than 0, at most the lowest threshold (0.6)"),
        ({"details": frames.details(release="low")}, "'release' is 'low'; wanted a number"),
        ({"details": frames.details(refractory_seconds=-1)}, "'refractory_seconds' is -1; wanted 0 to 3600"),
        ({"details": frames.details(row_seconds=float("nan"))}, "'row_seconds' is nan"),
        ({"signature": frames.signature(inputs=(Port("audio", "float32", 642, (), 8000.0),))}, "not a multiple of its 4 rows"),
        (
            {"signature": frames.signature(inputs=(Port("audio", "int64", 640, (), 8000.0),))},
            "wanted float32 numbers at whole Hz",
        ),
        ({"signature": frames.signature(inputs=(Port("audio", "float32", 640),))}, "wanted float32 numbers at whole Hz"),
    ],
)
def test_another_task_that_contradicts_itself_is_refused(changes, wanted):
    with pytest.raises(ModelError, match="incomplete or wrong") as caught:
        ModelMetadata.from_strings(frames.metadata(**changes).to_strings(), "m.onnx")
    assert wanted in str(caught.value)


def test_what_another_task_lacks_is_listed():
    strings = frames.metadata().to_strings()
    del strings["edgeseq.signature"], strings["edgeseq.details"], strings["edgeseq.language"]
    with pytest.raises(ModelError, match=r"'edgeseq.signature' is missing; 'edgeseq.details' is missing\.") as caught:
        ModelMetadata.from_strings(strings, "m.onnx")
    assert "language" not in str(caught.value)


def test_every_field_has_a_reader():
    for kind in TASKS.values():
        assert {str(one.type) for one in stored_fields(kind)} <= set(READERS)
        unstored = {one.name for one in fields(kind)} - {one.name for one in stored_fields(kind)}
        assert unstored <= {"companion_files", "signature", "details"}


def test_a_type_without_a_reader_is_no_missing_key(monkeypatch):
    monkeypatch.delitem(READERS, "dict[str, Any]")
    with pytest.raises(TypeError, match=r"'token_details' is a dict\[str, Any\], for which there is no reader"):
        ModelMetadata.from_strings(metadata().to_strings(), "m.onnx")


def test_json_that_is_nested_too_deeply_is_no_json():
    with pytest.raises(ModelError, match="config': "):
        ModelMetadata.from_strings(metadata().to_strings() | {"edgeseq.config": "[" * 100_000}, "m.onnx")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["float32", "int64", "state_x", 8000.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(data=st.data())
def test_whatever_stands_in_the_metadata_is_read_or_refused(data):
    """Any part of signature and details may be anything: there is one message, and no other exception."""
    written = frames.metadata()
    plain = {"signature": written.signature.to_dict(), "details": frames.details()}
    places = [(key,) for key in plain] + [("details", key) for key in plain["details"]]
    places += [
        ("signature", side, 0, key) for side in ("inputs", "outputs", "states") for key in ("name", "dtype", "shape", "rate")
    ]
    for path in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        place = plain = json.loads(json.dumps(plain))
        with suppress(TypeError, KeyError, IndexError):  # already replaced
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = data.draw(JSON)
    strings = written.to_strings() | {f"edgeseq.{key}": json.dumps(value) for key, value in plain.items()}
    try:
        read = ModelMetadata.from_strings(strings, "m.onnx")
    except ModelError as fault:
        assert "m.onnx: the metadata is incomplete or wrong" in str(fault)
    else:
        assert read.chunk_samples % read.step_samples == 0
        assert ModelMetadata.from_strings(read.to_strings(), "m.onnx") == read
