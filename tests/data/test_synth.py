"""Speech synthesis: drawing is repeatable, runs go on where they ended, each program that is installed speaks."""

import doctest
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_engine import ToneEngine

import edgeseq.data.synth as synth
from edgeseq.data.engine_file import EngineOfFile
from edgeseq.data.engines import ENGINES, SynthesisRequest, Voice, run_program
from edgeseq.data.manifest import read_manifest
from edgeseq.errors import EdgeseqError, UsageError

RATE = 16_000


def never():
    return False


@pytest.fixture
def tones():
    return ToneEngine()


def make(folder, tones, texts=("one", "two"), per_text=5, voices=None, **options):
    return synth.synthesize(texts, per_text, folder, voices or tones.voices(), jobs=2, known=(tones,), **options)


def test_doctests():
    assert doctest.testmod(synth).failed == 0


def test_manifest_says_what_was_made(tmp_path, tones):
    report = make(tmp_path, tones)
    assert (report.made, report.kept, report.failed, report.stopped) == (10, 0, (), False)
    recordings = read_manifest(report.manifest)
    assert sorted(r.text for r in recordings) == ["one"] * 5 + ["two"] * 5
    for recording in recordings:
        samples, rate = soundfile.read(recording.path)
        assert rate == RATE and samples.ndim == 1
        assert recording.duration == pytest.approx(len(samples) / rate, abs=1e-4)
        assert np.abs(samples).max() == pytest.approx(synth.PEAK, abs=0.01)
        assert recording.speaker in ("tones/high", "tones/low")
        assert set(recording.extra) == {"synthesizer", "voice", "pitch", "speed", "licence"}
        assert recording.extra["licence"] == "CC0-1.0"


def test_equal_texts_are_spoken_as_one(tmp_path, tones):
    assert make(tmp_path, tones, texts=("one", "two", "one")).made == 10


def test_the_same_command_makes_nothing_anew_and_more_files_keep_the_old(tmp_path, tones):
    make(tmp_path, tones)
    before = {r.path: (r.extra, r.path.stat().st_mtime_ns) for r in read_manifest(tmp_path / "manifest.jsonl")}
    assert make(tmp_path, tones).kept == 10
    report = make(tmp_path, tones, texts=("one", "two", "three"), per_text=6)
    assert (report.made, report.kept) == (8, 10)
    after = {r.path: (r.extra, r.path.stat().st_mtime_ns) for r in read_manifest(tmp_path / "manifest.jsonl")}
    assert before.items() <= after.items()


def test_a_stopped_run_goes_on(tmp_path, tones):
    done = []
    report = make(tmp_path, tones, per_text=20, on_progress=lambda n, _: done.append(n), stop=lambda: any(n >= 3 for n in done))
    assert report.stopped and 3 <= report.made < 40 and not report.failed
    assert len(read_manifest(report.manifest)) == report.made
    (tmp_path / "one" / ".00007.flac.part").write_bytes(b"half")
    (tmp_path / "one" / "00000.flac").unlink(missing_ok=True)
    report = make(tmp_path, tones, per_text=20)
    assert report.made + report.kept == 40 == len(read_manifest(report.manifest))
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_of_other_speech_is_refused(tmp_path, tones):
    make(tmp_path, tones)
    before = (tmp_path / "manifest.jsonl").read_text()
    for other in ({"seed": 1}, {"per_text": 4}, {"texts": ("three",)}):
        with pytest.raises(UsageError, match="Choose another --out"):
            make(tmp_path, tones, **other)
    assert (tmp_path / "manifest.jsonl").read_text() == before


def test_a_voice_that_fails_is_drawn_again(tmp_path, tones):
    voices = [Voice("tones", name, "CC0-1.0") for name in ("high", "mute", "failing")]
    report = make(tmp_path, tones, per_text=30, voices=voices)
    recordings = read_manifest(report.manifest)
    assert {r.extra["voice"] for r in recordings} == {"high"}
    assert len(recordings) + len(report.failed) == 60
    again = make(tmp_path, tones, per_text=30, voices=voices)
    assert again.kept == len(recordings) and again.made == 0


def test_nothing_but_failures_is_an_error(tmp_path, tones):
    with pytest.raises(EdgeseqError, match="none of 4 texts could be spoken"):
        make(tmp_path, tones, per_text=2, voices=[Voice("tones", "mute", "CC0-1.0")])


def test_drawing_depends_on_its_arguments_alone():
    voices = {
        "flite": [Voice("flite", name, "x") for name in "abc"],
        "festival": [Voice("festival", "d", "x", pitched=False)],
    }
    drawn = [synth.draw("one", number, 0, voices) for number in range(200)]
    assert drawn == [synth.draw("one", number, 0, voices) for number in range(200)]
    assert drawn != [synth.draw("one", number, 1, voices) for number in range(200)]
    assert drawn != [synth.draw("one", number, 0, voices, attempt=1) for number in range(200)]
    assert 60 < sum(u.request.voice.engine == "flite" for u in drawn) < 140
    assert all((u.request.pitch == 1.0) == (u.request.voice.name == "d") for u in drawn)


def test_trim_leaves_fifty_milliseconds():
    samples = np.zeros(RATE, dtype=np.float32)
    samples[6000:9000] = np.sin(np.arange(3000)).astype(np.float32)
    trimmed = synth.trim(samples, RATE)
    assert 3000 + 2 * 800 - 160 <= len(trimmed) <= 3000 + 2 * 800 + 160
    assert np.array_equal(synth.trim(samples[6000:9000], RATE), samples[6000:9000])
    assert len(synth.trim(np.zeros(100, dtype=np.float32), RATE)) == 0
    assert len(synth.trim(np.zeros(0, dtype=np.float32), RATE)) == 0


def test_implausible_speech_is_told_from_speech():
    speech = np.full(RATE // 2, 0.5, dtype=np.float32)
    assert synth.plausible(speech, RATE, "seven")
    assert not synth.plausible(0 * speech, RATE, "seven")
    assert not synth.plausible(speech[:1600], RATE, "seven")
    assert not synth.plausible(np.tile(speech, 8), RATE, "seven")


def test_texts_are_read(tmp_path):
    (tmp_path / "texts.txt").write_text("# digits\none\n\n two  three \none\n", encoding="utf-8")
    assert synth.read_texts(tmp_path / "texts.txt") == ["one", "two three"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b"# only\n", "holds no text"),
        (b"id\tone\n", "line 1 holds a tab"),
        (b"\xff\n", "cannot be read"),
    ],
)
def test_bad_texts_are_refused(tmp_path, content, message):
    (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(EdgeseqError, match=message):
        synth.read_texts(tmp_path / "texts.txt")
    with pytest.raises(EdgeseqError, match="cannot be read"):
        synth.read_texts(tmp_path / "gone.txt")


def test_voices_are_chosen_by_engine_and_pattern(tones):
    known = (tones,)
    assert [v.name for v in synth.installed_voices(known=known)] == ["high", "low"]
    assert [v.name for v in synth.installed_voices(voices="*/h*", known=known)] == ["high"]
    assert [v.name for v in synth.installed_voices(exclude_voices="*/h*", known=known)] == ["low"]
    with pytest.raises(UsageError, match="is not a speech synthesizer"):
        synth.installed_voices(["hal"], known=known)
    with pytest.raises(UsageError, match="--list-voices"):
        synth.installed_voices(voices="nobody", known=known)
    with pytest.raises(EdgeseqError, match="No speech synthesizer is installed"):
        synth.installed_voices(exclude_engines=["tones"], known=known)


def test_voices_are_chosen_by_licence(tones):
    tones.voices = lambda: (Voice("tones", "free", "CC0-1.0"), Voice("tones", "copyleft", "GPL-3.0-or-later"))
    chosen = synth.installed_voices(licences=["CC*", "MIT"], known=(tones,))
    assert [voice.name for voice in chosen] == ["free"]
    with pytest.raises(UsageError, match=r"under: CC0-1.0, GPL-3.0-or-later"):
        synth.installed_voices(licences=["MIT"], known=(tones,))


def test_where_no_program_is_installed_the_apt_line_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgeseqError, match="apt install espeak-ng flite festival"):
        synth.installed_voices()
    with pytest.raises(EdgeseqError, match="Not installed, or without voices: flite"):
        synth.installed_voices(["flite"])


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_each_program_speaks_and_heeds_the_speed(engine, tmp_path):
    voices = engine.voices()
    if not voices:
        pytest.skip(f"{engine.name} is not installed, or has no voices")
    chosen = [voices[0], voices[-1]]
    text = 'seven "eight" \\ nine'  # what Scheme would read as more than text
    requests = [
        SynthesisRequest(text, voice, 1.2 if voice.pitched else 1.0, speed) for voice in chosen for speed in (0.75, 1.4)
    ]
    files = [tmp_path / f"{n}.wav" for n in range(len(requests))]
    engine.speak(requests, files, never)
    lengths = []
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        lengths.append(len(synth.trim(samples, rate)) / rate)
    assert lengths[0] > 1.2 * lengths[1] and lengths[2] > 1.2 * lengths[3]
    assert all(0.3 < length < 6 for length in lengths)


def test_one_that_cannot_be_spoken_does_not_stop_the_others(tmp_path):
    engine = next(engine for engine in ENGINES if engine.name == "festival")
    voices = engine.voices()
    if not voices:
        pytest.skip("festival is not installed, or has no voices")
    files = [tmp_path / "nowhere" / "a.wav", tmp_path / "b.wav"]
    files[0].parent.mkdir()
    requests = [SynthesisRequest("one", voices[0], 1.0, 1.0)] * 2
    engine.speak(requests, [files[0], files[1]], never)
    assert all(file.exists() for file in files)
    gone = [tmp_path / "a.wav", tmp_path / "gone" / "b.wav", tmp_path / "c.wav"]
    engine.speak([SynthesisRequest("one", voices[-1], 1.0, 1.0)] * 3, gone, never)
    assert [file.exists() for file in gone] == [True, False, True]


def test_a_real_run(tmp_path):
    voices = [voice for engine in ENGINES for voice in engine.voices()]
    if not voices:
        pytest.skip("no speech synthesizer is installed")
    report = synth.synthesize(["three one"], 6, tmp_path, voices, sample_rate=8000)
    for recording in read_manifest(report.manifest):
        assert soundfile.info(recording.path).samplerate == 8000
        assert 0.3 < recording.duration < 2.5


def test_a_program_that_hangs_is_ended_when_all_is_to_stop(tmp_path):
    """With all that it has started; what it wrote is half a file."""
    file, began = tmp_path / "a.wav", time.monotonic()
    script = f"echo half > {file}; sleep 60 & echo $! > {tmp_path}/pid; wait"
    run_program(["sh", "-c", script], [file], stop=lambda: (tmp_path / "pid").exists(), text="one")
    assert time.monotonic() - began < 30 and not file.exists()
    wait_until_gone(int((tmp_path / "pid").read_text()))


def wait_until_gone(pid, seconds=10):
    """A process that nobody waits for stays as a zombie where there is no init; that counts as gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} runs on")


def test_a_stopped_run_ends_while_a_program_speaks(tmp_path):
    """Not when it has spoken all that it was given."""
    slow = EngineOfFile("slow", "CC0-1.0", ("sleep", "60"), "", (Voice("slow", "one", "CC0-1.0"),))
    began = time.monotonic()
    stop = lambda: time.monotonic() - began > 1  # noqa: E731
    report = synth.synthesize(["one"], 100, tmp_path, slow.known, jobs=2, known=(slow,), stop=stop)
    assert report.stopped and report.made == 0 and time.monotonic() - began < 30
