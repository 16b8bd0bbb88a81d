"""A stream goes on in another process; bytes of something else are refused."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeseq
from edgeseq.decoding.ctc import CtcState, Token
from edgeseq.errors import StateError
from edgeseq.stream.serialization import VERSION, pack, reachable_classes, unpack

pytest.importorskip("onnx")
import tone_language as tones


@dataclass(frozen=True)
class Leaf:
    number: int
    name: str | None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...] = ()
    weights: dict[str, Any] = field(default_factory=dict)
    values: Any = None


LEAVES = st.builds(Leaf, st.integers(), st.none() | st.text())
NUMBERS = st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none() | st.text()


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


@given(st.builds(Tree, st.lists(LEAVES).map(tuple), st.dictionaries(st.text(), NUMBERS), st.lists(NUMBERS).map(tuple)))
def test_values_come_back(tree):
    assert unpack(pack(tree), [Tree]) == tree


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.zeros((0, 4), np.int64),
        np.array(3.5),
        np.array([True, False]),
        np.arange(12, dtype=np.int16)[::3],
        np.array([np.nan, np.inf, -0.0]),
        np.float32(0.1),
        np.int32(-5),
        np.float64(1 / 3),
        1e-300,
        float("inf"),
        -7,
        True,
        None,
        "▁ß\n",
    ],
)
def test_arrays_and_numbers_come_back_to_the_bit(value):
    back = unpack(pack((value, value)), [])
    wanted = float(value) if isinstance(value, np.float64) else value
    assert same(back[0], wanted) and same(back[1], wanted)
    if isinstance(value, np.ndarray):
        assert back[0].flags.writeable


def test_what_cannot_be_saved():
    for value in (object(), [1], {1: 2}, np.array(["a"]), np.array([None]), b"bytes", {1, 2}, lambda: None):
        with pytest.raises(TypeError, match="cannot be saved"):
            pack(value)


def test_only_expected_classes_are_made():
    with pytest.raises(StateError, match="holds a 'Leaf', wanted are CtcState, Token"):
        unpack(pack(Leaf(1, None)), [CtcState])
    assert set(reachable_classes([Tree])) == {"Tree", "Leaf"}


def test_bytes_of_something_else():
    content = pack(Leaf(1, "a"))
    for bad, said in [
        (b"", "not a saved state"),
        (b"\x80\x04K\x01.", "not a saved state"),
        (content[:-1], "damaged or cut short"),
        (content + b"x", "damaged or cut short"),
        (content.replace(b"state %d " % VERSION, b"state %d " % (VERSION + 1)), f"format '{VERSION + 1}'"),
    ]:
        with pytest.raises(StateError, match=said):
            unpack(bad, [Leaf])
    with pytest.raises(StateError, match="does not fit this version"):
        unpack(pack(Token(1, 2, 0.5)), [Leaf])


def test_a_class_that_has_changed():
    content = pack(Leaf(1, "a"))

    @dataclass(frozen=True)
    class Other:
        number: int

    Other.__name__ = "Leaf"
    with pytest.raises(StateError, match="does not fit this version"):
        unpack(content, [Other])


REST = """
import sys
from pathlib import Path
import numpy as np
import edgeseq
recognizer = edgeseq.load(sys.argv[1])
state = recognizer.restore(Path(sys.argv[2]).read_bytes())
events, state = recognizer.step(np.load(sys.argv[3]), state)
for event in events + recognizer.flush(state)[0]:
    print(event.to_json())
"""


@pytest.mark.parametrize("at", [0, 700, 5003, 12_345])
def test_a_stream_goes_on_in_a_new_process(tone_model, tone_recognizer, tmp_path, at):
    samples = np.concatenate([tones.say("abba goes"), tones.silence(1), tones.say("on")])
    _, state = tone_recognizer.step(samples[:at], tone_recognizer.init_state())
    (tmp_path / "state").write_bytes(tone_recognizer.save(state))
    np.save(tmp_path / "rest.npy", samples[at:])
    wanted, end = tone_recognizer.step(samples[at:], state)
    wanted += tone_recognizer.flush(end)[0]
    arguments = [sys.executable, "-c", REST, tone_model, tmp_path / "state", tmp_path / "rest.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [event.to_json() for event in wanted]
    assert wanted[-1].text == "on"


def test_a_state_of_another_model_or_decoder_is_refused(tone_recognizer, tmp_path):
    content = tone_recognizer.save(tone_recognizer.init_state())
    model = tones.build()
    half = next(tensor for tensor in model.graph.initializer if tensor.name == "half")
    half.raw_data = np.array(0.4, np.float32).tobytes()
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StateError, match=r"of a model with the fingerprint(.|\n)*other\.onnx has"):
        edgeseq.load(tmp_path / "other.onnx").restore(content)

    decoder = type("Wider", (type(tone_recognizer.decoder),), {"identity": "wider 8"})(tone_recognizer.metadata)
    with pytest.raises(StateError, match="of the decoder 'greedy'; this recognizer's is 'wider 8'"):
        tone_recognizer.with_decoder(decoder).restore(content)


def test_metadata_that_only_describes_does_not_matter(tone_recognizer, tmp_path):
    content = tone_recognizer.save(tone_recognizer.init_state())
    described = edgeseq.load(tones.save(tmp_path / "described.onnx", license="MIT", scores={"wer": 0.5}))
    described.restore(content)


def test_values_that_are_no_state(tone_recognizer):
    for content in (b"", pack("a text"), pack(CtcState())):
        with pytest.raises(StateError):
            tone_recognizer.restore(content)


def test_bytes_do_not_grow_with_the_stream(tone_recognizer):
    state = tone_recognizer.init_state()
    spoken = np.concatenate([tones.say("a word"), tones.silence(1.5)])
    spoken, sizes = np.resize(spoken, len(spoken) // tones.CHUNK * tones.CHUNK), []
    for _ in range(4):
        _, state = tone_recognizer.step(spoken, state)
        sizes.append(len(tone_recognizer.save(state)))
    assert max(sizes) - min(sizes) < 50, "step numbers may take more digits"
