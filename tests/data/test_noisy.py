"""Noise under speech, at a ratio that is measured."""

import numpy as np
import pytest
import soundfile

from edgeseq.data.noisy import USUAL_LEVEL, Noise, active_level, read_noise
from edgeseq.errors import AudioError

RATE = 16000


@pytest.fixture
def kitchen(tmp_path):
    """Ten seconds, the second half ten times as loud."""
    noise = np.random.default_rng(0).normal(0, 0.01, 10 * RATE)
    noise[5 * RATE :] *= 10
    soundfile.write(tmp_path / "kitchen.wav", noise, RATE, subtype="FLOAT")
    return tmp_path / "kitchen.wav"


def _speech():
    """A second of silence, one of a tone, one of silence."""
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    return np.concatenate([np.zeros(RATE), tone, np.zeros(RATE)]).astype(np.float32)


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_the_ratio_holds_over_speech_and_over_the_excerpt(kitchen, snr_db):
    speech = _speech()
    assert active_level(speech, RATE) == pytest.approx(0.2 / np.sqrt(2), rel=0.02)
    for number in range(6):  # quiet and loud excerpts
        noise = Noise(kitchen, snr_db).under(speech, RATE, number) - speech
        ratio = 20 * np.log10(0.2 / np.sqrt(2) / np.sqrt(np.mean(noise**2)))
        assert ratio == pytest.approx(snr_db, abs=0.2)


def test_each_clip_has_its_own_excerpt_and_always_the_same(kitchen):
    noise, speech = Noise(kitchen, 10.0), _speech()
    first, again, other = (noise.under(speech, RATE, number) for number in (0, 0, 1))
    assert first.dtype == np.float32 and np.array_equal(first, again) and not np.array_equal(first, other)


def test_noise_shorter_than_the_clip_is_repeated(tmp_path):
    soundfile.write(tmp_path / "short.wav", np.array([0.1, -0.1] * 800), RATE, subtype="FLOAT")
    mixed = Noise(tmp_path / "short.wav", 0.0).under(_speech(), RATE, 0)
    assert np.abs(mixed[:RATE]).min() > 0.1 and len(mixed) == 3 * RATE


def test_silence_is_given_noise_as_if_somebody_spoke(kitchen):
    mixed = Noise(kitchen, 10.0).under(np.zeros(RATE, np.float32), RATE, 3)
    assert np.sqrt(np.mean(mixed**2)) == pytest.approx(USUAL_LEVEL * 10**-0.5, rel=0.01)
    assert len(Noise(kitchen, 10.0).under(np.zeros(0, np.float32), RATE, 3)) == 0


def test_noise_that_is_none_is_refused(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="holds no sound"):
        read_noise(tmp_path / "silence.wav", RATE)
    with pytest.raises(AudioError):
        read_noise(tmp_path / "none.wav", RATE)
