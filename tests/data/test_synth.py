"""Speech synthesis: drawing is repeatable, runs go on where they ended, each program that is installed speaks."""

import doctest
import threading

import numpy as np
import pytest
import soundfile

import edgeseq.data.synth as synth
from edgeseq.data.engines import ENGINES, Request, Voice
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.manifest import read_manifest

RATE = 16_000


class ToneEngine:
    """Says each text as a tone as long as the text; knows a voice that is mute and one that fails."""

    name, licence, batch = "tones", "CC0-1.0", 3

    def __init__(self):
        self.spoken = []
        self.lock = threading.Lock()

    def voices(self):
        return tuple(Voice(self.name, name, self.licence) for name in ("high", "low"))

    def speak(self, requests, files):
        for request, file in zip(requests, files, strict=True):
            with self.lock:
                self.spoken.append(request)
            if request.voice.name == "failing":
                continue
            level = 0.0 if request.voice.name == "mute" else 0.1
            time = np.arange(int(8000 * (0.2 + 0.05 * len(request.text)))) / 8000
            soundfile.write(file, level * np.sin(2000 * request.pitch * time), 8000)


@pytest.fixture
def tones(monkeypatch):
    engine = ToneEngine()
    monkeypatch.setattr("edgeseq.data.engines.ENGINES", (engine,))
    monkeypatch.setattr(synth, "ENGINES", (engine,))
    return engine


def make(folder, tones, texts=("one", "two"), per_text=5, voices=None, **options):
    return synth.synthesize(texts, per_text, folder, voices or tones.voices(), jobs=2, **options)


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


def test_the_same_command_makes_nothing_anew_and_more_files_keep_the_old(tmp_path, tones):
    make(tmp_path, tones)
    before = {r.path: (r.extra, r.path.stat().st_mtime_ns) for r in read_manifest(tmp_path / "manifest.jsonl")}
    assert make(tmp_path, tones).kept == 10
    report = make(tmp_path, tones, texts=("one", "two", "three"), per_text=6)
    assert (report.made, report.kept) == (8, 10)
    after = {r.path: (r.extra, r.path.stat().st_mtime_ns) for r in read_manifest(tmp_path / "manifest.jsonl")}
    assert before.items() <= after.items()


def test_a_stopped_run_goes_on(tmp_path, tones):
    def stop(done, total):
        if done >= 3:
            raise KeyboardInterrupt

    report = make(tmp_path, tones, per_text=20, on_progress=stop)
    assert report.stopped and 3 <= report.made < 40
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
    assert [v.name for v in synth.installed_voices()] == ["high", "low"]
    assert [v.name for v in synth.installed_voices(voices="*/h*")] == ["high"]
    assert [v.name for v in synth.installed_voices(exclude_voices="*/h*")] == ["low"]
    with pytest.raises(UsageError, match="is no speech synthesizer"):
        synth.installed_voices(["hal"])
    with pytest.raises(UsageError, match="--list-voices"):
        synth.installed_voices(voices="nobody")
    with pytest.raises(EdgeseqError, match="No speech synthesizer is installed"):
        synth.installed_voices(exclude_engines=["tones"])


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
    requests = [Request(text, voice, 1.2 if voice.pitched else 1.0, speed) for voice in chosen for speed in (0.75, 1.4)]
    files = [tmp_path / f"{n}.wav" for n in range(len(requests))]
    engine.speak(requests, files)
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
    requests = [Request("one", voices[0], 1.0, 1.0)] * 2
    engine.speak(requests, [files[0], files[1]])
    assert all(file.exists() for file in files)
    gone = [tmp_path / "a.wav", tmp_path / "gone" / "b.wav", tmp_path / "c.wav"]
    engine.speak([Request("one", voices[-1], 1.0, 1.0)] * 3, gone)
    assert [file.exists() for file in gone] == [True, False, True]


def test_a_real_run(tmp_path):
    voices = [voice for engine in ENGINES for voice in engine.voices()]
    if not voices:
        pytest.skip("no speech synthesizer is installed")
    report = synth.synthesize(["three one"], 6, tmp_path, voices, sample_rate=8000)
    for recording in read_manifest(report.manifest):
        assert soundfile.info(recording.path).samplerate == 8000
        assert 0.3 < recording.duration < 2.5
