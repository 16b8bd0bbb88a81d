import doctest

import numpy as np
import pytest

import edgeseq.stream.voice as voice
from edgeseq.errors import StateError, UsageError
from edgeseq.stream.voice import LevelState, LevelVoice

pytest.importorskip("onnx")
import tone_language as tones


def hum(seconds, level=0.3):
    """A tone that is no letter."""
    time = np.arange(round(seconds * tones.SAMPLE_RATE)) / tones.SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 100 * time)).astype(np.float32)


def finals(recognizer, samples, size):
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [event.text for event in recognizer.follow(pieces) if event.type == "final"]


def test_doctests():
    assert doctest.testmod(voice).failed == 0


def scores(levels_db, chunk_seconds=0.08, rate=8000):
    judge, told = LevelVoice(rate), []
    state = judge.init_state()
    for level_db in levels_db:
        score, state = judge.step(np.full(round(chunk_seconds * rate), 10 ** (level_db / 20), np.float32), state)
        told.append(score)
    return told


def test_what_is_well_above_the_floor_is_voice():
    assert scores([-60, -59, -30, -60]) == [0.0, 0.0, 1.0, 0.0]
    assert scores([-60, -51])[1] == pytest.approx(0.49, abs=0.03)


def test_noise_that_stays_is_no_voice_in_the_end():
    told = scores([-60] + [-40] * 125)
    assert told[1] == 1.0 and told[-1] == 0.0, "20 dB at 3 dB a second, within 10 s"


def test_digital_silence_and_no_samples():
    judge = LevelVoice(8000)
    assert judge.step(np.zeros(640, np.float32), LevelState()) == (0.0, LevelState(-80.0))
    assert judge.step(np.zeros(0, np.float32), LevelState()) == (0.0, LevelState(-80.0))


@pytest.mark.parametrize("size", [1000, 4096, 10**9])
def test_an_utterance_goes_on_while_there_is_voice(tone_recognizer, size):
    samples = np.concatenate([tones.silence(0.2), tones.say("go"), hum(1.5), tones.say("on"), tones.silence(1.5)])
    assert finals(tone_recognizer, samples, size) == ["go", "on"]
    listening = tone_recognizer.with_voice(LevelVoice(tones.SAMPLE_RATE))
    assert finals(listening, samples, size) == ["go on"]


def test_a_stream_with_voice_activity_is_saved(tone_recognizer):
    listening = tone_recognizer.with_voice(LevelVoice(tones.SAMPLE_RATE))
    _, state = listening.step(np.concatenate([tones.silence(0.2), tones.say("go"), hum(1)]), listening.init_state())
    rest = np.concatenate([hum(0.5), tones.say("on")])
    again = listening.restore(listening.save(state))
    assert again.voice == state.voice and listening.step(rest, again)[0] == listening.step(rest, state)[0]
    with pytest.raises(StateError, match="'greedy, voice activity level 8000'; this recognizer's is 'greedy'"):
        tone_recognizer.restore(listening.save(state))
    with pytest.raises(UsageError, match="opened without voice activity"):
        listening.step(rest, tone_recognizer.init_state())
