"""The gate: what it lets through is what the network would have heard, and in silence the network rests."""

import doctest
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeseq
import edgeseq.events
from edgeseq.errors import StateError, UsageError
from edgeseq.events import Final, Gap, Partial, only_stable
from edgeseq.sound.audio import read_blocks
from edgeseq.sound.blocks import Lost
from edgeseq.stream.gate import HANG_SECONDS, LOWEST_DB, PRE_ROLL_SECONDS, Gate
from edgeseq.stream.recognizer import Recognizer

pytest.importorskip("onnx")
import tone_language as tones

RATE = tones.SAMPLE_RATE
ROOT = Path(__file__).parents[2]
HAS_MODEL = (ROOT / "models/digits-en/model.int8.onnx").is_file()
FSDD = Path(os.environ.get("EDGESEQ_DATA", "")) / "fsdd/test.jsonl"


class Counting:
    """A network that notes how much it was given."""

    def __init__(self, network):
        self._network, self.n_samples = network, 0

    def __getattr__(self, name):
        return getattr(self._network, name)

    def step(self, inputs, state):
        self.n_samples += inputs["audio"].size
        return self._network.step(inputs, state)


def gated(recognizer):
    """The same recognizer with a gate, and the count of what comes through."""
    network = Counting(recognizer.network)
    return Recognizer(network, recognizer.decoder, recognizer.rules, gate=Gate(recognizer.sample_rate)), network


def told(recognizer, samples, size=8000):
    return list(recognizer.follow(samples[start : start + size] for start in range(0, len(samples), size)))


def finals(recognizer, samples, size=8000):
    return [event.text for event in told(recognizer, samples, size) if event.type == "final"]


def hiss(seconds, level_db, rate=RATE, seed=0):
    n_samples = round(seconds * rate)
    return (10 ** (level_db / 20) * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def is_open_after(gate, pieces):
    """Whether a gate, closed before, opens within each of some sounds."""
    state, opened = gate.init_state(), []
    for piece in pieces:
        state = replace(state, is_open=False)
        for start in range(0, len(piece), tones.CHUNK):
            state = gate.step(piece[start : start + tones.CHUNK], state)
        opened.append(state.is_open)
    return opened


def test_what_is_told_of_lost_sound():
    assert doctest.testmod(edgeseq.events).failed == 0


def test_a_sound_opens_it_and_steady_noise_does_not():
    loud, steady = hiss(0.1, -40, seed=1), hiss(4, -60)
    assert is_open_after(Gate(RATE), [steady, steady, loud, steady, np.zeros(8000, np.float32)]) == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_a_weak_tone_in_noise_opens_it():
    tone = 10 ** (-56 / 20) * np.sin(2 * np.pi * 1000 * np.arange(1600) / RATE)
    noise = hiss(4, -60)
    assert is_open_after(Gate(RATE), [noise, hiss(0.2, -60, seed=2) + tone.astype(np.float32)]) == [False, True]


def test_a_short_sound_counts_as_much_as_a_long_one():
    click = np.zeros(tones.CHUNK, np.float32)
    click[300:340] = hiss(0.005, -30)
    assert is_open_after(Gate(RATE), [np.zeros(8000, np.float32), click]) == [False, True]


def test_the_last_bit_of_a_converter_opens_nothing():
    bits = np.random.default_rng(0).integers(-1, 2, 80_000).astype(np.float32) * np.float32(2.0**-15)
    assert LOWEST_DB >= -95 and is_open_after(Gate(RATE), [np.zeros(8000, np.float32), bits]) == [False, False]


def test_levels_are_those_of_full_scale():
    """A sine of amplitude 1 holds half the power of full scale, all of it in one band."""
    sine = np.sin(2 * np.pi * 1000 * np.arange(640) / RATE).astype(np.float32)
    state = Gate(RATE).step(sine, Gate(RATE).init_state())
    assert state.floor_db.max() == pytest.approx(-3.0, abs=0.3) and np.sort(state.floor_db)[-2] < -30


SPEECH = [tones.silence(0.4), tones.say("go on"), tones.silence(8), tones.say("hello"), tones.silence(5.03), tones.say("abba")]


@pytest.mark.parametrize("size", [1, 777, 640, 8000, 10**9])
def test_chunks_equal_the_whole(tone_recognizer, size):
    samples = np.concatenate(SPEECH) if size > 1 else np.concatenate(SPEECH)[: 8 * RATE]
    with_gate, _ = gated(tone_recognizer)
    whole = told(with_gate, samples, 10**9)
    assert told(with_gate, samples, size) == whole
    assert next(event.text for event in whole if event.type == "final") == "go on"


def test_words_and_times_are_those_without_a_gate(tone_recognizer):
    samples = np.concatenate([*SPEECH, tones.silence(9)])
    with_gate, network = gated(tone_recognizer)
    ours, theirs = ([e for e in told(one, samples) if e.type == "final"] for one in (with_gate, tone_recognizer))
    assert [event.text for event in ours] == ["go on", "hello", "abba"] == [event.text for event in theirs]
    for one, other in zip(ours, theirs, strict=True):
        times = [[time for word in event.words for time in (word.start, word.end)] for event in (one, other)]
        assert times[0] == pytest.approx(times[1])
    assert network.n_samples < 0.62 * len(samples)


def test_in_silence_the_network_rests_and_time_goes_on(tone_recognizer):
    with_gate, network = gated(tone_recognizer)
    state = with_gate.init_state()
    for _ in range(600):
        events, state = with_gate.step(np.zeros(RATE, np.float32), state)
        assert not events
    assert network.n_samples <= (HANG_SECONDS + 0.1) * RATE
    assert state.n_samples == 600 * RATE and len(with_gate.save(state)) < 100_000
    _, state = with_gate.step(tones.say("go"), state)
    last = with_gate.flush(state)[0][-1]
    assert (last.type, last.text) == ("final", "go") and 600 < last.start < last.end < 601.2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2 * tones.CHUNK), st.floats(0.4, 0.6))
def test_no_onset_is_cut(tone_recognizer, shift, level):
    """However a word lies to the chunks: its first tone, half a second into the gate's sleep, is heard whole."""
    quiet = np.zeros(5 * RATE + shift, np.float32)
    with_gate, _ = gated(tone_recognizer)
    samples = np.concatenate([quiet, tones.say("echo", level=level), tones.silence(1.5)])
    assert finals(with_gate, samples) == finals(tone_recognizer, samples) == ["echo"]


def test_the_network_hears_half_a_second_from_before(tone_recognizer):
    with_gate, network = gated(tone_recognizer)
    _, state = with_gate.step(np.zeros(5 * RATE, np.float32), with_gate.init_state())
    before = network.n_samples
    _, state = with_gate.step(hiss(0.08, -20), state)
    heard = (network.n_samples - before) / RATE
    assert PRE_ROLL_SECONDS + 0.08 <= heard <= PRE_ROLL_SECONDS + 0.16
    assert state.gate.is_open and state.n_samples - state.first_sample >= round(heard * RATE)


def test_a_source_is_told_when_the_network_rests(tone_recognizer):
    with_gate, _ = gated(tone_recognizer)
    resting = []

    def source():
        for samples, expected in [(np.zeros(5 * RATE, np.float32), []), (tones.say("go"), [True]), (None, [True, False])]:
            assert resting == expected
            if samples is not None:
                yield samples

    assert [event.text for event in with_gate.follow(source(), rest=resting.append)][-1] == "go"


def test_it_does_not_close_within_an_utterance(tone_recognizer):
    from edgeseq.stream.endpoint import endpoint_rules

    patient, _ = gated(tone_recognizer.with_rules(endpoint_rules(5.0)))
    samples = np.concatenate([tones.say("go"), tones.silence(4), tones.say("on"), tones.silence(8), tones.say("go")])
    assert finals(patient, samples) == ["go on", "go"]


def test_a_gated_stream_is_saved(tone_recognizer):
    with_gate, _ = gated(tone_recognizer)
    quiet = np.zeros(4 * RATE, np.float32)
    _, state = with_gate.step(quiet, with_gate.init_state())
    again = with_gate.restore(with_gate.save(state))
    assert not again.gate.is_open and again.first_sample == state.first_sample
    rest = np.concatenate([tones.say("go"), tones.silence(1)])
    assert with_gate.step(rest, again)[0] == with_gate.step(rest, state)[0] != []
    with pytest.raises(StateError, match="gate bands 8000"):
        tone_recognizer.restore(with_gate.save(state))
    with pytest.raises(UsageError, match="opened without a gate"):
        with_gate.step(rest, tone_recognizer.init_state())


def test_gated_streams_in_a_batch_do_not_hear_each_other(tone_recognizer):
    with_gate, _ = gated(tone_recognizer)
    one, other = np.concatenate(SPEECH), np.concatenate([tones.silence(6.1), *SPEECH])[: len(np.concatenate(SPEECH))]
    alone = [with_gate.step(samples, with_gate.init_state())[0] for samples in (one, other)]
    states, events = [with_gate.init_state()] * 2, [[], []]
    for start in range(0, len(one), 1000):
        new, states = with_gate.step_many([one[start : start + 1000], other[start : start + 1000]], states)
        events = [before + after for before, after in zip(events, new, strict=True)]
    assert events == alone


# Gaps


@pytest.mark.parametrize("with_a_gate", [False, True])
def test_a_gap_ends_what_is_said_and_time_goes_on(tone_recognizer, with_a_gate):
    recognizer = gated(tone_recognizer)[0] if with_a_gate else tone_recognizer
    blocks = [tones.say("go"), Lost(2.5, "unplugged"), tones.say("on"), tones.silence(1.5)]
    first, gap, second = [event for event in recognizer.follow(blocks) if event.type != "partial"]
    n_said = len(tones.say("go")) / RATE
    assert (first.text, second.text) == ("go", "on") and first.end <= n_said
    assert gap == Gap(n_said, pytest.approx(n_said + 2.5), "unplugged")
    alone = next(event for event in recognizer.follow([tones.say("on"), tones.silence(1.5)]) if event.type == "final")
    assert second.start == pytest.approx(gap.end + alone.start) and second.end == pytest.approx(gap.end + alone.end)


def test_words_are_not_joined_over_a_gap(tone_recognizer):
    said = tones.say("hello")
    half = len(said) // 2
    events = tone_recognizer.follow([said[:half], Lost(0.3, "overrun"), said[half:], tones.silence(1)])
    assert "hello" not in [event.text for event in events if event.type == "final"]


def test_a_gap_of_nothing_only_ends_the_utterance(tone_recognizer):
    events, state = tone_recognizer.step(tones.say("go"), tone_recognizer.init_state())
    events, state = tone_recognizer.skip(0, state, "gone just now")
    assert [event.type for event in events][-1] == "final" and not any(isinstance(event, Gap) for event in events)
    events, state = tone_recognizer.skip(7, state, "gone")
    assert events == [Gap(len(tones.say("go")) / RATE, len(tones.say("go")) / RATE + 7, "gone")]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_gap_takes_a_time(tone_recognizer, seconds):
    with pytest.raises(UsageError, match="wanted a number from 0"):
        tone_recognizer.skip(seconds, tone_recognizer.init_state(), "")


def test_a_gap_passes_where_partials_are_cut():
    events = [Partial("a", 0, 1, 1, ()), Gap(1, 2, "x"), Final("b", 2, 3, 1, ())]
    assert list(only_stable(events)) == events[1:]


# Real speech


@pytest.mark.skipif(not HAS_MODEL, reason="models/digits-en is not there")
@pytest.mark.parametrize("before_seconds", [0.0, 3.0, 6.37])
def test_the_demo_clip(before_seconds):
    recognizer = edgeseq.load(ROOT / "models/digits-en")
    samples, rate = np.concatenate(list(read_blocks(ROOT / "demo/number.flac", recognizer.sample_rate))), recognizer.sample_rate
    quiet = hiss(before_seconds, -75, rate)
    samples = np.concatenate([quiet, samples, hiss(4, -75, rate, 1), samples])
    with_gate, _ = gated(recognizer)
    assert finals(with_gate, samples) == finals(recognizer, samples) != []


@pytest.mark.skipif(not (HAS_MODEL and FSDD.is_file()), reason="$EDGESEQ_DATA/fsdd or models/digits-en is not there")
def test_real_digits_after_silence():
    from benchmarks.live import spoken_strings
    from edgeseq.data.manifest import read_manifest

    recognizer = edgeseq.load(ROOT / "models/digits-en")
    spoken = spoken_strings(list(read_manifest(FSDD)), 100, recognizer.sample_rate)
    pieces, at = [], 0
    for start in spoken.starts:  # two more seconds of silence before each string: the gate closes
        begin = round(start * spoken.rate)
        pieces += [spoken.samples[at:begin], np.zeros(2 * spoken.rate, np.float32)]
        at = begin
    samples = np.concatenate([*pieces, spoken.samples[at:]])
    samples = samples + hiss(len(samples) / spoken.rate, -70, spoken.rate)[: len(samples)]
    with_gate, network = gated(recognizer)
    ours, theirs = " ".join(finals(with_gate, samples)).split(), " ".join(finals(recognizer, samples)).split()
    wrong = sum(one != other for one, other in zip(ours, theirs, strict=False)) + abs(len(ours) - len(theirs))
    assert len(theirs) > 90 and wrong <= 1
    assert network.n_samples < 0.95 * len(samples)
