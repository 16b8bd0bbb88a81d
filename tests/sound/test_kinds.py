"""What bytes are, and who reads them: every kind of file, by name, by descriptor and through a pipe, alike for every reader."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import threading
from contextlib import suppress

import numpy as np
import pytest
import soundfile

import edgeseq.data.clips
import edgeseq.data.measure
import edgeseq.sound.containers
import edgeseq.sound.wav
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, CutShortError
from edgeseq.sound.audio import read_blocks
from edgeseq.sound.containers import ENOUGH_BYTES, WAV, hidden_kind, recognize
from edgeseq.sound.doubts import Mixer, watch_zeros
from edgeseq.sound.opening import UnreadableError, open_sound

RATE = 8000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def voice(seconds=2.0, rate=RATE):
    """Something like speech: a buzz that comes and goes."""
    t = np.arange(round(seconds * rate)) / rate
    buzz = np.sin(2 * np.pi * 140 * t) + 0.5 * np.sin(2 * np.pi * 700 * t) + 0.2 * np.sin(2 * np.pi * 1900 * t)
    return (0.2 * buzz * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(np.float32)


def read(path, raw_rate=None):
    return np.concatenate([*read_blocks(path, RATE, raw_rate), np.zeros(0, np.float32)])


def piped(content, raw_rate=None, size=4096):
    """Read bytes through a pipe."""
    reading, writing = os.pipe()

    def write():
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:  # what is refused is not read to its end
            for first in range(0, len(content), size):
                pipe.write(content[first : first + size])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        return read(f"/dev/fd/{reading}", raw_rate)
    finally:
        os.close(reading)
        thread.join()


def wav(samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", **options)
    return file.getvalue()


def likeness(one, other):
    """Correlation at the best shift, codecs delay."""
    n = min(len(one), len(other)) - 2400
    return max(float(np.corrcoef(one[lag : lag + n], other[:n])[0, 1]) for lag in range(0, 2400, 4))


# Recognizing


def test_raw_speech_is_no_kind_of_file():
    for level in (1.0, 0.1, 0.003):
        raw = (level * 5 * voice(4) * 32767).clip(-32768, 32767).astype("<i2").tobytes()
        for first in range(0, len(raw) - ENOUGH_BYTES, 1778):
            head = raw[first : first + ENOUGH_BYTES]
            assert recognize(head) is None and hidden_kind(head) is None
    rng = np.random.default_rng(0)
    for level in (0, 1, 30, 3000):  # noise of a microphone, however quiet
        raw = np.round(rng.normal(0, level, 20_000)).astype("<i2").tobytes()
        assert recognize(raw) is None and hidden_kind(raw[:ENOUGH_BYTES]) is None


@pytest.mark.parametrize(
    "kind", ["FLAC", "OGG", "AIFF", "AU", "CAF", "W64", "RF64", "WAVEX", "VOC", "NIST", "MP3", "MPC2K", "SVX"]
)
@pytest.mark.parametrize("by", ["name", "pipe", "one byte at a time"])
def test_what_soundfile_reads_is_read_without_ffmpeg(kind, by, tmp_path, monkeypatch):
    if kind in ("MPC2K", "SVX") and by != "name":
        pytest.skip("these begin like nothing else does")
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "memo.dat"
    rate = 44_100 if kind == "MP3" else RATE
    soundfile.write(path, voice(2, rate), rate, format=kind)
    heard = read(path) if by == "name" else piped(path.read_bytes(), size=1 if by != "pipe" else 4096)
    assert likeness(heard, voice(2)) > 0.95


ENCODED = {
    "m4a": [], "mp4": ["-c:a", "aac"], "mov": ["-c:a", "aac"], "3gp": ["-c:a", "aac"], "aac": [], "latm": ["-c:a", "aac"],
    "mp3": ["-write_xing", "0", "-id3v2_version", "0"], "mp2": [], "wma": [], "asf": [], "au": [], "caf": ["-c:a", "pcm_s16le"],
    "aiff": [], "ogg": [], "opus": [], "flac": [], "webm": [], "mkv": [], "avi": [], "ts": [], "w64": [], "wv": [], "tta": [],
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("ending", ENCODED)
def test_every_kind_of_file_is_heard_by_name_and_from_a_pipe(ending, tmp_path):
    soundfile.write(tmp_path / "x.wav", voice(2, 16_000), 16_000)
    path = tmp_path / f"x.{ending}"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", *ENCODED[ending], path]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this ffmpeg does not write it")
    for heard in (read(path), piped(path.read_bytes())):
        assert abs(len(heard) - 2 * RATE) < 0.2 * RATE and likeness(heard, voice(2)) > 0.9


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x18ftypM4A \0\0\0\0isom" + bytes(5000),
        b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(5000),
        b"0&\xb2u\x8ef\xcf\x11" + bytes(5000),
        b"#!AMR\n" + bytes(5000),
        b"\x1aE\xdf\xa3" + bytes(5000),
        b"RIFF\0\0\0\0AVI LIST" + bytes(5000),
        b"\xff\xf1\x50\x40\x08\x1f\xfc" + bytes(57) + (b"\xff\xf1\x50\x40\x08\x1f\xfc" + bytes(57)) * 20,
        np.random.default_rng(1).bytes(9000),
        b"PK\x03\x04" + bytes(5000),
        b"\x1f\x8b\x08" + bytes(5000),
        b"%PDF-1.7" + bytes(5000),
        b'{"text": "no sound at all"}\n' * 99,
        "Grüße, kein Ton\r\n".encode() * 300,
    ],
    ids=lambda content: content[:8].hex(),
)
def test_what_cannot_be_decoded_is_never_words(content, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError) as caught:
        piped(content)
    assert str(caught.value) and "Traceback" not in str(caught.value)


def test_a_rate_makes_unknown_bytes_raw_and_known_ones_stay_what_they_are(tmp_path):
    noise = np.random.default_rng(1).integers(-32768, 32767, 8000, dtype=np.int16)
    assert len(piped(noise.tobytes(), raw_rate=RATE)) == len(noise)
    raw = (voice() * 32767).astype("<i2").tobytes()
    for content in (raw, raw[:7]):
        assert len(piped(content)) == len(piped(content, raw_rate=RATE)) == len(content) // 2
    soundfile.write(tmp_path / "x.flac", voice(), RATE)
    assert len(piped((tmp_path / "x.flac").read_bytes(), raw_rate=16_000)) == 2 * RATE


@pytest.mark.parametrize("name", ["speech.raw", "speech.pcm", "speech", "speech.RAW"])
def test_raw_samples_in_a_file_need_their_rate(name, tmp_path):
    raw = (voice(2, 16_000) * 32767).astype("<i2").tobytes()
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(AudioError, match="--rate"):
        read(tmp_path / name)
    assert likeness(read(tmp_path / name, raw_rate=16_000), voice()) > 0.99
    with pytest.raises(AudioError):
        open_sound(tmp_path / name)


# Names


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"\xff\xfe.flac", b"a\nb.wav", b"\x1b[31m.wav", "日本.wav".encode()])
def test_files_of_any_name_are_read_by_every_reader(name, tmp_path):
    path = tmp_path / os.fsdecode(name)
    content = io.BytesIO()
    soundfile.write(content, voice(), RATE, format="FLAC" if b"flac" in name else "WAV")
    path.write_bytes(content.getvalue())
    recording = Recording(path, 2.0, "x")
    assert len(read(path)) == len(edgeseq.data.clips.read_clip(recording, RATE)) == 2 * RATE
    assert edgeseq.data.measure.measure(recording, True).fault == ""
    path.write_bytes(b"no sound")
    with pytest.raises(AudioError) as caught:
        edgeseq.data.clips.read_clip(recording, RATE)
    str(caught.value).encode()
    assert "\x1b" not in str(caught.value)


def test_a_name_that_cannot_be_one():
    for reader in (read, open_sound):
        with pytest.raises(AudioError):
            reader("a\0b.wav")


# Headers


def unfinished(samples, length, **options):
    content = bytearray(wav(samples, **options))
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = struct.pack("<I", length)
    return bytes(content)


BROKEN = {
    "length 0": unfinished(voice(), 0),
    "length 4 GiB": unfinished(voice(), 0xFFFFFFFF),
    "length 2 GiB": unfinished(voice(), 0x7FFFFFFF),
    "as sox writes it": unfinished(voice(), 0x7FFFF000),
    "stereo": unfinished(np.stack([voice(), voice()], axis=1), 0),
    "24 bits": unfinished(voice(), 0, subtype="PCM_24"),
    "part of a sample": unfinished(voice(), 0) + b"\1",
}


@pytest.mark.parametrize("case", BROKEN)
def test_all_readers_hear_the_same_of_an_unfinished_file(case, tmp_path):
    clips = pytest.importorskip("edgeseq.training.clips")
    path = tmp_path / "x.wav"
    path.write_bytes(BROKEN[case])
    recording = Recording(path, 2.0, "x")
    heard = [read(path), piped(BROKEN[case]), clips.read_clip(recording, RATE), edgeseq.data.clips.read_clip(recording, RATE)]
    for one in heard:
        np.testing.assert_allclose(one, voice(), atol=1e-4)
    found = edgeseq.data.measure.measure(recording, True)
    assert (found.fault, found.file_seconds) == ("", 2.0)


CUT = {
    "cut": wav(voice())[:9000],
    "cut in its header": wav(voice())[:30],
    "empty": wav(voice()[:0]),
    "nothing": b"",
    "text": b"x" * 99,
}


@pytest.mark.parametrize("case", CUT)
def test_all_readers_refuse_what_is_not_whole(case, tmp_path):
    clips = pytest.importorskip("edgeseq.training.clips")
    path = tmp_path / "x.wav"
    path.write_bytes(CUT[case])
    recording = Recording(path, 2.0, "x")
    for reader in (
        read,
        lambda path: clips.read_clip(recording, RATE),
        lambda path: edgeseq.data.clips.read_clip(recording, RATE),
    ):
        with pytest.raises(Exception, match=r"x\.wav") as caught:
            reader(path)
        assert isinstance(caught.value, AudioError) or "Take its line out" in str(caught.value)
    for decode in (True, False):
        assert edgeseq.data.measure.measure(recording, decode).fault


def test_a_recording_is_its_stretch_for_every_reader(tmp_path):
    clips = pytest.importorskip("edgeseq.training.clips")
    soundfile.write(tmp_path / "x.wav", voice(2, 22_050), 22_050, subtype="FLOAT")
    for offset, duration in ((0.0, 2.0), (0.0, 1.0), (0.5, 0.25), (0.0, 1.9999), (1.5, 0.5)):
        recording = Recording(tmp_path / "x.wav", duration, "x", offset)
        one, other = clips.read_clip(recording, RATE), edgeseq.data.clips.read_clip(recording, RATE)
        np.testing.assert_array_equal(one, other)
        assert abs(len(one) - duration * RATE) <= 2
    np.testing.assert_array_equal(
        read(tmp_path / "x.wav"), edgeseq.data.clips.read_clip(Recording(tmp_path / "x.wav", 2.0, "x"), RATE)
    )


def test_lengths_between_2_and_4_gib_are_meant(tmp_path):
    path, n_bytes = tmp_path / "long.wav", 3 << 30
    with path.open("wb") as file:
        file.write(unfinished(voice()[:0], n_bytes))
        file.truncate(44 + n_bytes)  # a sparse file: no bytes on the disk
    with open_sound(path) as sound:
        assert sound.frames == n_bytes // 2 and sound.n_promised == n_bytes // 2
        sound.seek(n_bytes // 2 - 10)
        assert len(sound.read(100)) == 10
    with path.open("r+b") as file:
        file.truncate(44 + (1 << 20))
    with open_sound(path) as sound:
        assert sound.frames == 1 << 19 and sound.n_promised == n_bytes // 2, "cut, not unfinished"
    with pytest.raises(CutShortError, match=r"breaks off at 65\.54 s"):
        read(path)
    with path.open("r+b") as file:
        file.write(unfinished(voice()[:0], 0x7FFFF000))
        file.truncate(44 + 0x7FFFF000)
    with open_sound(path) as sound:
        assert sound.frames == 0x7FFFF000 // 2


# Lost silently


def behind(content):
    return [content + wav(voice()), content + bytes(range(256)) * 8, unfinished(voice(), 8000)]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("reader", ["file", "pipe"])
def test_what_lies_behind_the_promised_samples_is_told(number, reader, tmp_path, caplog):
    content = behind(wav(voice()))[number]
    (tmp_path / "x.wav").write_bytes(content)
    heard = read(tmp_path / "x.wav") if reader == "file" else piped(content)
    assert len(heard) == (4000 if number == 2 else 2 * RATE)
    (line,) = [record.getMessage() for record in caplog.records]
    assert ("another WAV follows" if number == 0 else "fewer samples than there are") in line


@pytest.mark.parametrize("tail", [b"", b"\0", b"LIST\x04\0\0\0note", bytes(5000), b"TAG" + b"a song".ljust(125)])
def test_names_and_padding_behind_the_samples_are_no_sound(tail, tmp_path, caplog):
    (tmp_path / "x.wav").write_bytes(wav(voice()) + tail)
    assert len(read(tmp_path / "x.wav")) == len(piped(wav(voice()) + tail)) == 2 * RATE
    assert not caplog.records


@pytest.mark.parametrize("gain", [-1.0, -0.99])
@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_channels_that_cancel_each_other_are_told_once(gain, seconds, tmp_path, caplog):
    samples = voice(seconds)
    soundfile.write(tmp_path / "x.wav", np.stack([samples, gain * samples], axis=1), RATE)
    read(tmp_path / "x.wav")
    piped((tmp_path / "x.wav").read_bytes())
    assert [record.getMessage().partition(": ")[2][:34] for record in caplog.records] == [
        "its channels cancel each other: on"
    ] * 2


def test_channels_that_differ_or_are_silent_are_fine(tmp_path, caplog):
    for right in (voice(), 0 * voice(), -0.5 * voice(), np.roll(voice(), 40)):
        soundfile.write(tmp_path / "x.wav", np.stack([voice(), right], axis=1), RATE)
        read(tmp_path / "x.wav")
    assert not caplog.records
    lines = []
    mixer = Mixer("the microphone", RATE, lines.append)
    for _ in range(30):
        mixer.mix(np.stack([voice(0.1), -voice(0.1)], axis=1))
    assert len(lines) == 1


def test_a_recording_of_zeros_is_told(tmp_path, caplog):
    soundfile.write(tmp_path / "x.wav", np.zeros(RATE), RATE)
    assert len(read(tmp_path / "x.wav")) == RATE
    assert "nothing but zeros" in caplog.text


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_microphone_of_zeros_is_told_within_three_seconds(value):
    lines, told_at = [], None
    block = np.full(640, value, np.float32)
    for number, _ in enumerate(watch_zeros([block] * 200, RATE, "the microphone 'USB'", lines.append), start=1):
        told_at = told_at or (number * 640 / RATE if lines else None)
    assert len(lines) == 1 and "muted" in lines[0] and told_at <= 3
    hiss = [np.random.default_rng(0).normal(0, 1e-4, 640).astype(np.float32), *[block] * 200]
    assert len(list(watch_zeros(hiss, RATE, "it", lines.append))) == 201 and len(lines) == 1


def test_doctests():
    import doctest

    for module in (edgeseq.sound.wav, edgeseq.sound.containers):
        assert doctest.testmod(module).failed == 0


def test_archives_and_memory_are_read_the_same_way(tmp_path):
    content = unfinished(voice(), 0)
    (tmp_path / "a.tar").write_bytes(b"x" * 512 + content + b"x" * 512)
    recording = Recording(tmp_path / "a.tar", 2.0, "x", within=(512, len(content)))
    np.testing.assert_allclose(edgeseq.data.clips.read_clip(recording, RATE), voice(), atol=1e-4)
    assert recognize(content) == WAV
    with pytest.raises(UnreadableError):
        open_sound(io.BytesIO(b"x" * 100), "memory")


@needs_ffmpeg
def test_training_reads_what_evaluation_reads_also_through_ffmpeg(tmp_path):
    clips = pytest.importorskip("edgeseq.training.clips")
    soundfile.write(tmp_path / "x.wav", voice(2, 16_000), 16_000)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", tmp_path / "x.m4a"], check=True)
    recording = Recording(tmp_path / "x.m4a", 1.5, "x", 0.25)
    one, other = clips.read_clip(recording, RATE), edgeseq.data.clips.read_clip(recording, RATE)
    np.testing.assert_array_equal(one, other)
    assert likeness(one, voice(2)[2000:]) > 0.9


@needs_ffmpeg
@pytest.mark.parametrize("through", [read, lambda path: piped(path.read_bytes())], ids=["file", "pipe"])
def test_text_that_ffmpeg_would_take_for_raw_sound_and_play_lists_are_refused(tmp_path, through):
    """ffmpeg hears 60 KB of brackets as a minute of AMR, and follows a play list to other files."""
    text, play_list, other = tmp_path / "list.json", tmp_path / "list.m3u8", tmp_path / "other.ts"
    text.write_text("[" + "[]," * 20_000 + "[]]")
    soundfile.write(tmp_path / "other.wav", voice(), RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "other.wav", "-c:a", "aac", "-f", "mpegts", other], check=True)
    play_list.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n")
    assert len(read(other)) > RATE
    for file in (text, play_list):
        with pytest.raises(AudioError, match=r"can read it|looks like text"):
            through(file)
