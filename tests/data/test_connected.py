"""Strings of single words."""

import numpy as np
import pytest
import soundfile

from edgeseq.data.connected import GAP_LEVEL, connect
from edgeseq.data.manifest import Recording


@pytest.fixture
def recordings(tmp_path):
    """Forty words of two speakers; each word is a constant, so that it is found again."""
    made = []
    for n in range(40):
        path = tmp_path / f"{n}.wav"
        soundfile.write(path, np.full(800, 0.02 * (n + 1)), 8000, subtype="FLOAT")
        made.append(Recording(path, 0.1, f"word{n}", speaker="anna" if n % 3 else "ben"))
    return made


def test_each_clip_is_said_once_and_a_string_has_one_speaker(recordings):
    strings = connect(recordings, seed=0)
    said = [recording for string in strings for recording in string.recordings]
    assert sorted(r.text for r in said) == sorted(r.text for r in recordings)
    assert all(len({r.speaker for r in string.recordings}) == 1 for string in strings)
    lengths = [len(string.recordings) for string in strings]
    assert max(lengths) <= 7 and sum(length < 3 for length in lengths) <= 2
    assert all(0 <= gap <= 0.3 for string in strings for gap in string.gaps)


def test_a_seed_always_gives_the_same_strings(recordings):
    first, second = connect(recordings, seed=3), connect(recordings, seed=3)
    assert first == second
    assert np.array_equal(first[0].read(8000), second[0].read(8000))
    assert [s.text for s in first] != [s.text for s in connect(recordings, seed=4)]


def test_sound_is_the_clips_with_faint_gaps(recordings):
    for string in connect(recordings, seed=1):
        samples = string.read(8000)
        gaps = [round(gap * 8000) for gap in string.gaps]
        assert len(samples) == 800 * len(string.recordings) + sum(gaps)
        at = 0
        for recording, gap in zip(string.recordings, [*gaps, 0], strict=True):
            level = 0.02 * (int(recording.text.removeprefix("word")) + 1)
            assert np.allclose(samples[at : at + 800], level)
            noise = samples[at + 800 : at + 800 + gap]
            assert not len(noise) or np.sqrt((noise**2).mean()) == pytest.approx(GAP_LEVEL, rel=0.5)
            at += 800 + gap


def test_recordings_without_speakers_are_one_speakers(tmp_path):
    strings = connect([Recording(tmp_path / "a.wav", 0.1, str(n)) for n in range(10)], seed=0)
    assert sum(len(string.recordings) for string in strings) == 10
