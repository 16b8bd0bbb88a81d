"""The sound of a manifest's line."""

import numpy as np
import pytest
import soundfile

from edgeseq.data.clips import read_clip, write_clip
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError


@pytest.fixture
def ramp(tmp_path):
    """Two seconds, rising from 0 to 0.8, at 16 kHz, in stereo."""
    samples = np.linspace(0, 0.8, 32_000)
    soundfile.write(tmp_path / "ramp.wav", np.stack([samples, samples], axis=1), 16_000, subtype="FLOAT")
    return tmp_path / "ramp.wav"


def test_a_whole_file_is_read(ramp):
    clip = read_clip(Recording(ramp, 2.0, "x"), 16_000)
    assert clip.dtype == np.float32 and clip.shape == (32_000,)
    assert len(read_clip(Recording(ramp, 2.0, "x"), 8000)) == 16_000


def test_a_stretch_is_read(ramp):
    clip = read_clip(Recording(ramp, 0.5, "x", offset=1.0), 16_000)
    assert clip.shape == (8000,)
    assert clip[0] == pytest.approx(0.4, abs=1e-3) and clip[-1] == pytest.approx(0.6, abs=1e-3)
    assert len(read_clip(Recording(ramp, 0.5, "x", offset=1.0), 8000)) == 4000


def test_what_cannot_be_read_is_named(ramp, tmp_path):
    for bad in (Recording(tmp_path / "gone.wav", 1.0, "x"), Recording(tmp_path / "gone.wav", 1.0, "x", offset=0.5)):
        with pytest.raises(AudioError, match=r"gone\.wav"):
            read_clip(bad, 8000)
    with pytest.raises(AudioError, match=r"ramp\.wav \(5\.00 to 6\.00 s\): holds 2\.00 s; no sound at 5 s"):
        read_clip(Recording(ramp, 1.0, "x", offset=5), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    for offset in (0.0, 0.5):
        with pytest.raises(AudioError, match=r"nan\.wav"):
            read_clip(Recording(tmp_path / "nan.wav", 0.5, "x", offset=offset), 8000)


def test_a_clip_is_written_whole_or_not_at_all(tmp_path):
    write_clip(tmp_path / "new" / "a.flac", np.full(100, 0.5, dtype=np.float32), 8000)
    assert soundfile.info(tmp_path / "new" / "a.flac").frames == 100
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="cannot be written"):
        write_clip(tmp_path / "file" / "a.flac", np.zeros(100, dtype=np.float32), 8000)
    (tmp_path / "taken.flac").mkdir()
    with pytest.raises(AudioError, match="cannot be written"):
        write_clip(tmp_path / "taken.flac", np.zeros(100, dtype=np.float32), 8000)
    assert not list(tmp_path.rglob("*.part"))
