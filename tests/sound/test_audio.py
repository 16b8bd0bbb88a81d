import doctest
import functools
import http.server
import io
import os
import shutil
import struct
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgeseq.sound.ffmpeg
import edgeseq.sound.level
from edgeseq.errors import AudioError, CutShortError, DeviceError, UsageError
from edgeseq.sound.audio import read_blocks
from edgeseq.sound.audio_stream import decode
from edgeseq.sound.blocks import cut, paced, resample

RATE = 8000

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def sweep(seconds=1.0, rate=RATE):
    """A tone that rises from 100 to 1500 Hz, so that every moment is unlike the others."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (100 * t + 700 * t**2 / seconds))).astype(np.float32)


def read(*args, **kwargs):
    return np.concatenate([*read_blocks(*args, **kwargs), np.zeros(0, np.float32)])


def wav(samples, rate=RATE, **kwargs):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", **kwargs)
    return file.getvalue()


def likeness(one, other):
    n = min(len(one), len(other))
    return float(np.corrcoef(one[:n], other[:n])[0, 1])


FORMATS = [
    ("PCM_U8", "wav", 1e-2),
    ("PCM_16", "wav", 1e-4),
    ("PCM_24", "wav", 1e-6),
    ("PCM_32", "wav", 1e-6),
    ("FLOAT", "wav", 1e-7),
    ("DOUBLE", "wav", 1e-7),
    ("ULAW", "wav", 3e-2),
    ("ALAW", "wav", 3e-2),
    ("PCM_16", "flac", 1e-4),
    ("PCM_24", "flac", 1e-6),
    ("PCM_16", "aiff", 1e-4),
    ("PCM_16", "au", 1e-4),
]


@pytest.mark.parametrize(("subtype", "ending", "tolerance"), FORMATS)
def test_sample_formats(subtype, ending, tolerance, tmp_path):
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, sweep(), RATE, subtype=subtype)
    np.testing.assert_allclose(read(path, RATE), sweep(), atol=tolerance)


@pytest.mark.parametrize("subtype", [s for s, ending, _ in FORMATS if ending == "wav"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_wav_stream_equals_the_file(subtype, n_channels, tmp_path):
    samples = np.stack([sweep()] * n_channels, axis=1)
    content = wav(samples, subtype=subtype)
    (tmp_path / "x.wav").write_bytes(content)
    pieces = (content[i : i + 333] for i in range(0, len(content), 333))
    streamed = np.concatenate(list(decode(pieces, RATE, RATE, "pipe")))
    np.testing.assert_array_equal(streamed, read(tmp_path / "x.wav", RATE))


@pytest.mark.parametrize("n_channels", [2, 3, 8])
def test_channels_are_averaged(n_channels, tmp_path):
    samples = np.zeros((RATE, n_channels), np.float32)
    samples[:, -1] = sweep()
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "x.wav", RATE), sweep() / n_channels, atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 44100, 48000, 96000])
def test_any_rate_is_brought_to_the_models(rate, tmp_path):
    soundfile.write(tmp_path / "x.wav", sweep(2.5, rate), rate, subtype="FLOAT")
    samples = read(tmp_path / "x.wav", RATE)
    assert abs(len(samples) - 2.5 * RATE) <= 1, "nothing is lost at the end"
    assert likeness(samples, sweep(2.5)) > 0.999
    assert likeness(samples[-500:], sweep(2.5)[-500:]) > 0.99


@pytest.mark.parametrize("size", [1, 79, 1000, 48000])
def test_resampling_in_chunks_equals_the_whole(size):
    sound = sweep(1.0, 48000)
    whole = np.concatenate(list(resample([sound], 48000, RATE)))
    chunks = np.concatenate(list(resample(np.split(sound, range(size, len(sound), size)), 48000, RATE)))
    np.testing.assert_allclose(chunks, whole, atol=1e-5)


@pytest.mark.parametrize("layer", [lambda blocks: resample(blocks, 48000, RATE), lambda blocks: cut(blocks, 777)])
def test_the_rest_comes_before_the_failure(layer):
    def breaking():
        yield sweep(1.0, 48000)
        raise DeviceError("gone")

    heard = []
    with pytest.raises(DeviceError, match="gone"):
        for block in layer(breaking()):
            heard.append(block)
    assert sum(map(len, heard)) in (RATE, 48000)


def test_cut():
    blocks = [np.arange(5, dtype=np.float32), np.zeros(0, np.float32), np.arange(5, 12, dtype=np.float32)]
    pieces = [list(piece) for piece in cut(blocks, 4) if len(piece)]
    assert pieces == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_paced_keeps_time_without_drift():
    start, n_samples, at = time.monotonic(), 0, []
    for block in paced(cut([sweep(0.6)], 640), RATE):
        n_samples += len(block)
        at.append((time.monotonic() - start) - n_samples / RATE)
    assert min(at) > -0.001, "no block comes before it has been said"
    assert n_samples == 0.6 * RATE


def test_paced_lets_its_reader_look_up():
    blocks = [len(block) for block in paced([sweep(0.5)], RATE)]
    assert blocks[-1] == 0.5 * RATE and blocks[:-1].count(0) >= 3


def test_long_files_are_read_in_little_memory(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 48000, 2, "PCM_16") as file:
        for _ in range(120):
            file.write(np.zeros((48000, 2), np.float32))
    tracemalloc.start()
    n_samples = sum(len(block) for block in read_blocks(tmp_path / "long.wav", RATE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_samples == 120 * RATE and peak < 4e6, "all of it would be 46 MB"


# Bad input


def refusal(path, error=AudioError):
    with pytest.raises(error) as caught:
        read(path, RATE)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_folder_empty_and_forbidden(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.wav")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "empty.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), RATE)
    assert "holds no sound" in refusal(tmp_path / "zero.wav")
    if os.geteuid() != 0:
        soundfile.write(tmp_path / "secret.wav", sweep(), RATE)
        (tmp_path / "secret.wav").chmod(0)
        assert "permission" in refusal(tmp_path / "secret.wav")


@pytest.mark.parametrize("content", [b"hello, this is a letter\n" * 40, b"\x00" * 4000, bytes(range(256)) * 9])
def test_what_is_no_sound(content, tmp_path):
    (tmp_path / "letter.wav").write_bytes(content)
    assert "read it" in refusal(tmp_path / "letter.wav")


def test_faults_show_when_the_file_is_opened(tmp_path):
    with pytest.raises(AudioError):
        read_blocks(tmp_path / "none.wav", RATE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e30])
def test_values_that_are_no_sound(bad, tmp_path):
    samples = sweep()
    samples[4000] = bad
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    assert "at 0.500 s" in refusal(tmp_path / "nan.wav")


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_truncated_file_gives_what_is_there_and_then_says_so(ending, tmp_path):
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, sweep(4), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard = []
    with pytest.raises(CutShortError, match=r"promises 4\.00 s"):
        for block in read_blocks(path, RATE):
            heard.append(block)
    heard = np.concatenate(heard)
    assert 1.5 * RATE < len(heard) < 2.5 * RATE
    np.testing.assert_allclose(heard, sweep(4)[: len(heard)], atol=1e-4)


def test_an_absurd_rate(tmp_path):
    content = bytearray(wav(sweep()))
    content[24:28] = struct.pack("<I", 3)
    (tmp_path / "slow.wav").write_bytes(content)
    assert "3 Hz" in refusal(tmp_path / "slow.wav")


# Bytes that come as a stream


def stream(content, raw_rate=RATE, size=1000):
    pieces = (content[i : i + size] for i in range(0, len(content), size))
    return np.concatenate([*decode(pieces, RATE, raw_rate, "pipe"), np.zeros(0, np.float32)])


@pytest.mark.parametrize("size", [1, 7, 44, 45, 100_000])
def test_pieces_of_any_size(size):
    np.testing.assert_allclose(stream(wav(sweep(0.2)), size=size), sweep(0.2), atol=1e-4)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFFFFF - 36])
def test_a_wav_whose_length_was_not_known_when_it_began(length, tmp_path):
    content = bytearray(wav(sweep()))
    content[4:8] = content[40:44] = struct.pack("<I", length)
    np.testing.assert_allclose(stream(bytes(content)), sweep(), atol=1e-4)
    (tmp_path / "stream.wav").write_bytes(content)
    np.testing.assert_allclose(read(tmp_path / "stream.wav", RATE), sweep(), atol=1e-4)


def test_chunks_before_and_after_the_samples():
    content = wav(sweep())
    note = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    content = content[:36] + note + content[36:] + note
    np.testing.assert_allclose(stream(content), sweep(), atol=1e-4)


def test_rf64_and_extensible_headers():
    for form in ("RF64", "WAVEX"):
        file = io.BytesIO()
        soundfile.write(file, sweep(), RATE, format=form, subtype="PCM_24")
        np.testing.assert_allclose(stream(file.getvalue()), sweep(), atol=1e-5)


def test_raw_samples_at_a_rate():
    sound = sweep(1.0, 16000)
    raw = (sound * 32767).astype("<i2").tobytes()
    samples = stream(raw + b"\x00", raw_rate=16000, size=333)
    assert len(samples) == RATE and likeness(samples, sweep()) > 0.999


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "before any sound came"),
        (b"RI", "within its header"),
        (wav(sweep())[:30], "within its header"),
        (wav(sweep())[:44], "holds no sound|breaks off"),
        (wav(sweep())[:8000], "breaks off at 0.50 s; its header promises 1.00 s"),
        (b"fLaC" + bytes(100), "looks like FLAC"),
        (b"ID3" + bytes(100), "looks like MP3"),
        (b"RIFF\0\0\0\0WAVEdata" + bytes(100), "'fmt '"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f" + bytes(100), "first megabyte"),
    ],
)
def test_streams_that_are_not_whole(content, message):
    with pytest.raises(AudioError, match=message):
        stream(content)


def test_odd_wav_headers_never_crash():
    rng = np.random.default_rng(0)
    whole = np.frombuffer(wav(sweep(0.05)), dtype=np.uint8)
    for _ in range(300):
        broken = whole.copy()
        broken[rng.integers(0, 44, 4)] = rng.integers(0, 256, 4)
        try:
            stream(broken.tobytes())
        except AudioError as fault:
            assert str(fault)


def test_a_named_pipe_is_read_as_it_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = wav(sweep())
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    np.testing.assert_allclose(read(tmp_path / "pipe", RATE), sweep(), atol=1e-4)
    writer.join()


# ffmpeg


def convert(source, target, *options):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, target], check=True)
    return target


@needs_ffmpeg
@pytest.mark.parametrize("ending", ["mp3", "ogg", "m4a", "webm", "opus", "mkv", "mp4"])
def test_compressed_files(ending, tmp_path):
    soundfile.write(tmp_path / "x.wav", sweep(3, 16000), 16000)
    samples = read(convert(tmp_path / "x.wav", tmp_path / f"x.{ending}"), RATE)
    assert abs(len(samples) - 3 * RATE) < 0.1 * RATE
    lags = [likeness(samples[lag:], sweep(3)) for lag in range(0, 800, 1)]
    assert max(lags) > 0.95


@needs_ffmpeg
def test_channels_through_ffmpeg_are_averaged(tmp_path):
    samples = np.zeros((16000, 2), np.float32)
    samples[:, 1] = sweep(1, 16000)
    soundfile.write(tmp_path / "x.wav", samples, 16000)
    path = convert(tmp_path / "x.wav", tmp_path / "x.mkv", "-c:a", "pcm_s16le")
    assert abs(np.abs(read(path, RATE)).max() - 0.25) < 0.02


@needs_ffmpeg
def test_a_file_whose_name_looks_like_something_else(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "x.wav", sweep(), RATE)
    convert(tmp_path / "x.wav", tmp_path / "x.m4a")
    monkeypatch.chdir(tmp_path)
    for name in ("-i.m4a", "concat:x|y.m4a", "http:x.m4a"):
        shutil.copy("x.m4a", f"./{name}")
        assert len(read(name, RATE)) > 0.9 * RATE


@needs_ffmpeg
def test_a_film_without_sound(tmp_path):
    options = ["-f", "lavfi", "-i", "color=size=16x16:duration=0.2"]
    subprocess.run(["ffmpeg", "-v", "error", *options, tmp_path / "mute.mkv"], check=True)
    assert "neither soundfile" in refusal(tmp_path / "mute.mkv")


@needs_ffmpeg
@pytest.mark.parametrize("ending", ["m4a", "webm"])
def test_a_truncated_compressed_file_is_not_passed_over(ending, tmp_path):
    soundfile.write(tmp_path / "x.wav", sweep(20, 16000), 16000)
    path = convert(tmp_path / "x.wav", tmp_path / f"x.{ending}", "-movflags", "+faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "breaks off" in refusal(path, CutShortError)


def test_without_ffmpeg_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(1000))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "sudo apt install ffmpeg" in refusal(tmp_path / "x.m4a")


def children():
    """The processes that this thread started and has not taken leave of: running, or ended and not waited for."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


@needs_ffmpeg
def test_ffmpeg_is_gone_when_the_reader_leaves(tmp_path):
    soundfile.write(tmp_path / "x.wav", sweep(60), RATE)
    path = convert(tmp_path / "x.wav", tmp_path / "x.mkv", "-c:a", "pcm_s16le")
    blocks = read_blocks(path, RATE)
    before = children()
    next(blocks)
    started = children() - before
    blocks.close()
    assert started
    assert not started & children()


# Network streams


@pytest.fixture
def web(tmp_path):
    """A web server for a folder; gives the folder and its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://me:secret@127.0.0.1:{server.server_port}"
        server.shutdown()


@needs_ffmpeg
def test_a_url_is_read_through_ffmpeg(web):
    folder, address = web
    soundfile.write(folder / "a.wav", sweep(), RATE)
    heard = np.concatenate(list(read_blocks(f"{address}/a.wav", RATE)))
    assert len(heard) == len(sweep()) and np.abs(heard - sweep()).max() < 1e-3


@needs_ffmpeg
def test_a_url_without_sound(web):
    _, address = web
    with pytest.raises(AudioError, match=r"ffmpeg cannot read it .*404 Not Found") as caught:
        list(read_blocks(f"{address}/none.wav", RATE))
    assert "secret" not in str(caught.value)


@needs_ffmpeg
def test_a_play_list_from_the_network_reaches_no_file(web, tmp_path):
    folder, address = web
    soundfile.write(folder / "private.wav", sweep(), RATE)
    piece = f"#EXTINF:1,\nfile://{tmp_path}/private.wav"
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n{piece}\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="ffmpeg cannot read it"):
        list(read_blocks(f"{address}/list.m3u8", RATE))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "concat://a|b", "gopher://x/y", "subfile://a"])
def test_other_kinds_of_urls_are_refused(url):
    with pytest.raises(UsageError, match=r"are not read\. Wanted: http, https, rtsp"):
        read_blocks(url, RATE)


def test_a_url_without_ffmpeg(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AudioError, match="sudo apt install ffmpeg"):
        read_blocks("http://127.0.0.1/a.wav", RATE)


def test_doctests_of_names():
    assert doctest.testmod(edgeseq.sound.ffmpeg).failed == 0 and doctest.testmod(edgeseq.sound.level).failed == 0
