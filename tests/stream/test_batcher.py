"""Streams in a batch: each gets the words that it would get alone, and nobody waits for a slow one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeseq.errors import AudioError, UsageError
from edgeseq.model.network import Network
from edgeseq.stream.batcher import Batcher
from edgeseq.stream.endpoint import endpoint_rules
from edgeseq.stream.recognizer import Recognizer

pytest.importorskip("onnx")
import tone_language as tones

TEXTS = ("hello abba zoo", "yes", "a b c", "zoo", "no no no")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def batcher(tone_recognizer, clock):
    return Batcher(tone_recognizer.network, max_batch=3, wait_seconds=0.02, clock=clock)


def alone(recognizer, samples):
    events, state = recognizer.step(samples, recognizer.init_state())
    last, _ = recognizer.flush(state)
    return events + last


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, len(TEXTS) - 1)),
        st.tuples(st.just("feed"), st.integers(0, 30), st.integers(1, 3000)),
        st.tuples(st.sampled_from(["end", "finish", "reset", "leave"]), st.integers(0, 30)),
        st.tuples(st.just("step")),
    ),
    max_size=120,
)


@given(actions=ACTIONS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streams_that_come_go_and_stall_are_told_what_they_would_be_alone(tone_recognizer, actions):
    unruled = tone_recognizer.with_rules(endpoint_rules(0.4))
    batcher = Batcher(tone_recognizer.network, max_batch=3)
    said, fed, told = {}, {}, {}

    def take(events):
        for key, new in events.items():
            told[key] += new

    for action, *details in actions:
        if action == "join":
            recognizer = unruled if details[0] % 2 else tone_recognizer
            key = batcher.join(recognizer)
            said[key], fed[key], told[key] = (recognizer, tones.say(TEXTS[details[0]])), 0, []
        elif action == "step":
            take(batcher.step())
        elif said:
            key = list(said)[details[0] % len(said)]
            recognizer, samples = said[key]
            if action == "feed":
                batcher.feed(key, samples[fed[key] : fed[key] + details[1]])
                fed[key] = min(len(samples), fed[key] + details[1])
            elif action == "finish":
                assert told[key] + batcher.finish(key) == alone(recognizer, samples[: fed[key]])
                fed[key], told[key] = 0, []
            elif action == "end":
                batcher.end(key)
                while batcher.is_ready(key):
                    take(batcher.step())
                assert told[key] == alone(recognizer, samples[: fed[key]])
                fed[key], told[key] = 0, []
            elif action == "reset":
                batcher.reset(key)
                fed[key], told[key] = 0, []
            else:
                batcher.leave(key)
                del said[key], fed[key], told[key]
    for key, (recognizer, samples) in said.items():
        assert told[key] + batcher.finish(key) == alone(recognizer, samples[: fed[key]])
        batcher.leave(key)
    assert len(batcher) == 0


def test_a_chunk_waits_for_others_but_not_for_long(batcher, tone_recognizer, clock):
    first, second = batcher.join(tone_recognizer), batcher.join(tone_recognizer)
    chunk = tones.silence(0.08)
    assert batcher.wait_seconds() is None and batcher.step() == {}
    batcher.feed(first, chunk[:600])
    assert batcher.wait_seconds() is None, "not a whole chunk"
    batcher.feed(first, chunk[600:])
    assert batcher.wait_seconds() == pytest.approx(0.02)
    clock.now += 0.015
    assert batcher.wait_seconds() == pytest.approx(0.005)
    batcher.feed(second, chunk)
    assert batcher.wait_seconds() == 0.0, "all are there"
    assert set(batcher.step()) == {first, second}
    batcher.feed(first, chunk)
    clock.now += 0.03
    assert batcher.wait_seconds() == 0.0, "the other one is late"
    assert set(batcher.step()) == {first}


def test_a_full_batch_goes_at_once_and_those_left_over_go_first_next_time(batcher, tone_recognizer, clock):
    keys = [batcher.join(tone_recognizer) for _ in range(5)]
    for key in keys[:4]:
        clock.now += 0.001
        batcher.feed(key, tones.silence(0.08))
    assert batcher.wait_seconds() == pytest.approx(0.02 - 0.003)
    batcher.leave(keys[3])
    assert batcher.wait_seconds() == 0.0, "as many as fit"
    clock.now += 0.001
    batcher.feed(keys[4], tones.silence(0.08))
    assert set(batcher.step()) == set(keys[:3]) and set(batcher.step()) == {keys[4]}


def test_a_backlog_does_not_wait_and_does_not_keep_others_waiting(batcher, tone_recognizer, clock):
    hurried, live = batcher.join(tone_recognizer), batcher.join(tone_recognizer)
    batcher.feed(hurried, tones.silence(10.0))
    assert batcher.wait_seconds() == 0.0
    assert batcher.waiting_seconds(hurried) == pytest.approx(10.0)
    batcher.step()
    clock.now += 0.01
    batcher.feed(live, tones.silence(0.08))
    assert set(batcher.step()) == {hurried, live}
    assert batcher.waiting_seconds(hurried) == pytest.approx(10 - 0.16)


def test_sound_that_cannot_be_used_is_refused_where_it_is_handed_over(batcher, tone_recognizer):
    key = batcher.join(tone_recognizer)
    batcher.feed(key, tones.say("yes"))
    with pytest.raises(AudioError, match="nan"):
        batcher.feed(key, np.full(800, np.nan, dtype=np.float32))
    with pytest.raises(UsageError, match="float64"):
        batcher.feed(key, np.zeros(800))
    assert [event.text for event in batcher.finish(key) if event.type == "final"] == ["yes"]


def test_a_stream_of_another_network_is_refused(batcher, tone_model):
    with pytest.raises(UsageError, match="cannot be batched"):
        batcher.join(Recognizer(Network(tone_model)))


def test_a_stream_can_leave_and_go_on_elsewhere(batcher, tone_recognizer):
    samples = tones.say("hello abba")
    key = batcher.join(tone_recognizer)
    batcher.feed(key, samples[: 640 * 4])
    told = [event for _ in range(4) for event in batcher.step()[key]]
    state = batcher.leave(key)
    later = Batcher(tone_recognizer.network)
    other = later.join(tone_recognizer, state)
    later.feed(other, samples[640 * 4 :])
    assert told + later.finish(other) == alone(tone_recognizer, samples)


def test_streams_that_end_together_are_stepped_together(tone_recognizer, monkeypatch):
    batcher = Batcher(tone_recognizer.network)
    keys = [batcher.join(tone_recognizer) for _ in TEXTS]
    for key, text in zip(keys, TEXTS, strict=True):
        batcher.feed(key, tones.say(text))
        batcher.end(key)
    with pytest.raises(UsageError, match="is ending"):
        batcher.feed(keys[0], tones.silence(0.1))
    batches, step = [], tone_recognizer.network.step
    monkeypatch.setattr(
        tone_recognizer.network, "step", lambda inputs, state: (batches.append(len(inputs["audio"])), step(inputs, state))[1]
    )
    told = {key: [] for key in keys}
    while batcher.wait_seconds() is not None:
        for key, events in batcher.step().items():
            told[key] += events
    assert [[e.text for e in told[key] if e.type == "final"] for key in keys] == [[text] for text in TEXTS]
    longest = max(len(tones.say(text)) for text in TEXTS) // tone_recognizer.metadata.chunk_samples
    n_flush = round(tone_recognizer.metadata.flush_seconds * tone_recognizer.sample_rate)
    assert len(batches) < longest + len(TEXTS) * (n_flush // tone_recognizer.metadata.chunk_samples + 3), (
        "not one after the other"
    )
    assert all(not batcher.is_ready(key) for key in keys)
    batcher.feed(keys[0], tones.say("yes"))
    assert [event.text for event in batcher.finish(keys[0]) if event.type == "final"] == ["yes"], "it starts afresh"
