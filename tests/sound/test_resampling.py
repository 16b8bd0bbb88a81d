import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.sound.resampling import LiveResampler

PAIRS = [(48000, 8000), (44100, 8000), (44100, 16000), (16000, 8000), (8000, 16000), (11025, 8000), (48000, 48000)]


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32) * 0.1


def tone(hertz, rate, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_nothing_is_held_back(from_rate, to_rate):
    resampler, n_in, n_out = LiveResampler(from_rate, to_rate), 0, 0
    for n in (1, 0, 777, 3840, 5):
        n_in += n
        n_out += len(resampler.step(np.zeros(n, np.float32)))
        assert n_out == -(-n_in * to_rate // from_rate)
    assert resampler.delay_seconds < 0.025


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 900), max_size=12))
def test_chunks_equal_the_whole(rates, lengths):
    samples = noise(sum(lengths))
    pieces = np.split(samples, np.cumsum(lengths))
    resampler = LiveResampler(*rates)
    heard = [resampler.step(piece) for piece in pieces]
    assert np.concatenate(heard) == pytest.approx(LiveResampler(*rates).step(samples), abs=1e-6)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
@pytest.mark.parametrize("part", [0.05, 0.4, 0.8])
def test_a_tone_in_the_pass_band_stays_as_it_is(from_rate, to_rate, part):
    hertz = part * min(from_rate, to_rate) / 2
    resampler = LiveResampler(from_rate, to_rate)
    heard = resampler.step(tone(hertz, from_rate))
    times = np.arange(len(heard)) / to_rate - resampler.delay_seconds
    settled = times > resampler.delay_seconds
    assert heard[settled] == pytest.approx(np.sin(2 * np.pi * hertz * times[settled]), abs=0.01)


@pytest.mark.parametrize("hertz", [4650, 5000, 9000, 15000, 20000])
def test_what_would_fold_back_is_gone(hertz):
    heard = LiveResampler(48000, 8000).step(tone(hertz, 48000))
    assert 20 * np.log10(np.abs(heard[100:]).max()) < -48


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 8000), (44100, 16000)])
def test_speech_band_is_that_of_soxr(from_rate, to_rate):
    low = soxr.resample(noise(to_rate), to_rate * 3 // 4, from_rate)  # nothing above 0.75 of the half
    resampler = LiveResampler(from_rate, to_rate)
    heard, wanted = resampler.step(low), soxr.resample(low, from_rate, to_rate)
    late = resampler.delay_seconds * to_rate
    spectrum = np.fft.rfft(heard) * np.exp(2j * np.pi * np.fft.rfftfreq(len(heard)) * late)
    aligned = np.fft.irfft(spectrum, len(heard))[200:-200]
    assert np.abs(aligned - wanted[200 : len(heard) - 200]).max() < 0.01 * np.abs(wanted).max()
