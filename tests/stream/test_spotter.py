"""Sound to detections, through a real network: chunks equal the whole, gates, gaps, saved states."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeseq
from edgeseq import models
from edgeseq.errors import ModelError, StateError, UsageError
from edgeseq.events import Detection, Gap
from edgeseq.model.frames import FramesDetails
from edgeseq.model.network import Network
from edgeseq.stream.batcher import Batcher
from edgeseq.stream.detector import Detector
from edgeseq.stream.gate import Gate
from edgeseq.stream.recognizer import Recognizer
from edgeseq.stream.spotter import Spotter

pytest.importorskip("onnx")
import tone_frames as frames

SOUND = frames.join(
    frames.silence(0.31), frames.tone("low", 0.5), frames.silence(0.2), frames.tone("high", 0.3), frames.tone("low", 0.23)
)
WANTED = [("low", 0.31, 0.81), ("high", 1.01, 1.31), ("low", 1.31, 1.54)]


@pytest.fixture(scope="module")
def spotter(tmp_path_factory):
    return edgeseq.load(frames.save(tmp_path_factory.mktemp("frames") / "model.onnx"))


def run(spotter, samples, sizes, state=None):
    state, events, first, turn = spotter.init_state() if state is None else state, [], 0, 0
    while first < len(samples):
        new, state = spotter.step(samples[first : first + sizes[turn % len(sizes)]], state)
        events += new
        first, turn = first + sizes[turn % len(sizes)], turn + 1
    last, state = spotter.flush(state)
    return events + last


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_what_sounds_is_detected_to_a_row(activation, tmp_path):
    spotter = edgeseq.load(frames.save(tmp_path / "model.onnx", activation))
    assert isinstance(spotter, Spotter)
    found = spotter.detect(SOUND)
    assert [one.label for one in found] == [label for label, _, _ in WANTED]
    for one, (_, start, end) in zip(found, WANTED, strict=True):
        assert (one.start, one.end) == pytest.approx((start, end), abs=frames.ROW_SECONDS) and one.score > 0.9
    assert found[-1].end == pytest.approx(len(SOUND) / frames.SAMPLE_RATE, abs=frames.ROW_SECONDS), "the flush brings it out"
    assert found[-1].end <= len(SOUND) / frames.SAMPLE_RATE, "no time lies beyond the sound"


def test_spotters_are_batched(spotter):
    strict = spotter.with_detector(Detector(spotter.detector.details.with_threshold(1.0)))
    batcher = Batcher(spotter.network)
    keys = [batcher.join(one) for one in (spotter, strict, spotter)]
    for key in keys:
        batcher.feed(key, SOUND)
    assert [batcher.finish(key) for key in keys] == [run(spotter, SOUND, [len(SOUND)]), [], run(spotter, SOUND, [len(SOUND)])]


def test_it_is_told_while_it_is_heard(spotter):
    state, told = spotter.init_state(), []
    for first in range(0, len(SOUND), 400):
        events, state = spotter.step(SOUND[first : first + 400], state)
        told += [((first + 400) / frames.SAMPLE_RATE, event) for event in events]
    begun = [(now, one) for now, one in told if one.end is None]
    assert [one.label for _, one in begun] == ["low", "high", "low"]
    assert all(now - one.start <= 0.3 for now, one in begun), "a chunk, and the chunk by which rows are late"


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5))
def test_chunks_equal_the_whole(spotter, sizes):
    assert run(spotter, SOUND, sizes) == run(spotter, SOUND, [len(SOUND)])


def test_streams_step_together_as_alone(spotter):
    sounds = [SOUND, np.roll(SOUND, 3000), frames.silence(1), SOUND[5000:]]
    states, events = [spotter.init_state() for _ in sounds], [[] for _ in sounds]
    for first in range(0, len(SOUND), 1000):
        new, states = spotter.step_many([sound[first : first + 1000] for sound in sounds], states)
        events = [before + more for before, more in zip(events, new, strict=True)]
    for sound, state, told in zip(sounds, states, events, strict=True):
        assert told + spotter.flush(state)[0] == run(spotter, sound, [777])


def test_a_stream_goes_on_from_what_was_saved(spotter):
    whole = run(spotter, SOUND, [len(SOUND)])
    for at in (1, 3000, 5000, 9000):
        events, state = spotter.step(SOUND[:at], spotter.init_state())
        again = spotter.restore(spotter.save(state))
        assert events + run(spotter, SOUND[at:], [500], again) == whole
    assert len(spotter.save(spotter.step(np.tile(SOUND, 20), spotter.init_state())[1])) < 10_000


def test_a_state_of_something_else_is_refused(spotter, tone_recognizer, tmp_path):
    saved = spotter.save(spotter.init_state())
    details = spotter.detector.details
    other = spotter.with_detector(Detector(replace(details, release=0.2)))
    with pytest.raises(StateError, match=r"of the decoder 'detector [0-9a-f]{12}'; this"):
        other.restore(saved)
    with pytest.raises(StateError, match="of a model with the fingerprint"):
        tone_recognizer.restore(saved)
    with pytest.raises(StateError, match="of a model with the fingerprint"):
        spotter.restore(tone_recognizer.save(tone_recognizer.init_state()))
    with pytest.raises(UsageError, match=r"the stream's state is a State; this Spotter wants a SpotterState\.\n"):
        spotter.step(SOUND, tone_recognizer.init_state())
    with pytest.raises(UsageError, match=r"the stream's state is a SpotterState; this Recognizer wants a State\.\n"):
        tone_recognizer.step(SOUND, spotter.init_state())


def test_lost_sound_ends_what_lasts_and_time_goes_on(spotter):
    _, state = spotter.step(SOUND[:5000], spotter.init_state())
    events, state = spotter.skip(2.0, state, "lost")
    ended, gap = events
    assert isinstance(ended, Detection) and ended.end == pytest.approx(5000 / frames.SAMPLE_RATE, abs=frames.ROW_SECONDS)
    assert gap == Gap(0.625, 2.625, "lost")
    later = run(spotter, frames.join(frames.silence(0.4), frames.tone("high", 0.4)), [640], state)
    assert [(one.label, one.end is None) for one in later] == [("high", True), ("high", False)]
    assert later[0].start == pytest.approx(3.025, abs=frames.ROW_SECONDS)


def test_a_gate_rests_in_silence_and_moves_no_time(spotter):
    gated = spotter.with_gate(Gate(frames.SAMPLE_RATE))
    hiss = np.random.default_rng(0).normal(0, 1e-4, 20 * frames.SAMPLE_RATE).astype(np.float32)
    sound = frames.join(hiss[: 6 * frames.SAMPLE_RATE], frames.tone("low", 0.6), hiss, frames.tone("high", 0.6), hiss[:800])
    rests = []
    found = [one for one in gated.follow([sound[i : i + 800] for i in range(0, len(sound), 800)], rests.append) if one.end]
    assert rests[:2] == [True, False] and len(rests) >= 4
    assert [(one.label, pytest.approx(one.start, abs=0.05)) for one in found] == [("low", 6.0), ("high", 26.6)]


def test_a_label_that_lasts_keeps_the_gate_open(spotter):
    """A steady tone is nothing new to a gate that listens for change."""
    gated = spotter.with_gate(Gate(frames.SAMPLE_RATE))
    found = gated.detect(frames.join(frames.silence(0.4), frames.tone("low", 30.0), frames.silence(0.4)))
    assert [(one.label, pytest.approx(one.end - one.start, abs=0.05)) for one in found] == [("low", 30.0)]


def test_models_of_one_task_are_refused_where_another_is_wanted(spotter, tone_model):
    with pytest.raises(UsageError, match=r"tone-frames is a model of the task 'frames', which gives no words"):
        Recognizer(spotter.network)
    with pytest.raises(UsageError, match=r"tone-frames is a model of the task 'frames', which gives no words"):
        models.load_recognizer(spotter.network.path)
    with pytest.raises(
        UsageError, match=r"tones is a model of the task 'ctc', which detects nothing; .*\n.*edgeseq transcribe"
    ):
        models.load_spotter(tone_model)
    own = FramesDetails.from_dict(frames.details("softmax"))
    with pytest.raises(UsageError, match=r"the detector's labels are none, low, high; those of tone-frames are low, high\."):
        spotter.with_detector(Detector(own))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_file_is_verified(activation, tmp_path):
    path = frames.save(tmp_path / "model.onnx", activation)
    seen = dict(models.verify(path))
    n_labels = len(frames.labels_of(activation))
    assert seen["metadata"] == f"tone-frames, frames, 'scores' float32 [batch, 4, {n_labels}], format 3"
    assert "same events, same states" in seen["chunks equal the whole"]


def test_scores_that_are_no_probabilities_are_found(tmp_path):
    model = frames.build()
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Identity"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"its scores lie from -30 to .*; wanted 0 to 1"):
        list(models.verify(path))
    assert Network(path).metadata.task == "frames"
