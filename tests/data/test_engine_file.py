"""Synthesizers described by a file: real programs, called through descriptions of a few lines."""

import shutil

import numpy as np
import pytest
import soundfile
import yaml

from edgeseq.data import synth
from edgeseq.data.engine_file import engines_with, read_engine
from edgeseq.data.engines import SynthesisRequest
from edgeseq.data.manifest import read_manifest
from edgeseq.errors import UsageError

ESPEAK = """
name: by-file
licence: GPL-3.0-or-later
command: [espeak-ng, -v, "{voice}", -s, "{speed:.0f}", -p, "{pitch:.0f}", -w, "{file}", --stdin]
stdin: "{text}"
own_speed: 175
own_pitch: 50
voices: [en-us, {name: en-gb, licence: CC0-1.0}]
"""

FESTIVAL = """
name: festival-script
licence: MIT-Festival
command: [text2wave, -o, "{file}", -eval, "({voice})", -eval, "(Parameter.set 'Duration_Stretch {slowness:.2f})"]
stdin: "{text}"
voices: [voice_kal_diphone]
"""


def never():
    return False


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def described(tmp_path, text):
    path = tmp_path / "engine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@needs("espeak-ng")
def test_a_whole_run_through_a_file(tmp_path):
    engine = read_engine(described(tmp_path, ESPEAK))
    report = synth.synthesize(["three one"], 8, tmp_path / "out", engine.voices(), jobs=2, known=(engine,))
    recordings = read_manifest(report.manifest)
    assert len(recordings) == 8 and {r.extra["synthesizer"] for r in recordings} == {"by-file"}
    licences = {"en-us": "GPL-3.0-or-later", "en-gb": "CC0-1.0"}
    assert all(r.extra["licence"] == licences[r.extra["voice"]] for r in recordings)
    assert all(0.3 < r.duration < 3 for r in recordings)
    again = synth.synthesize(["three one"], 8, tmp_path / "out", engine.voices(), jobs=2, known=(engine,))
    assert (again.made, again.kept) == (0, 8)


@needs("espeak-ng")
def test_speed_and_pitch_reach_the_program(tmp_path):
    engine = read_engine(described(tmp_path, ESPEAK))
    voice = engine.voices()[0]
    assert voice.pitched and voice.paced
    manners = {"slow": (1.0, 0.7), "fast": (1.0, 1.5), "low": (0.6, 1.0), "high": (1.9, 1.0)}
    files = {name: tmp_path / f"{name}.wav" for name in manners}
    requests = [SynthesisRequest("nine nine nine", voice, *manner) for manner in manners.values()]
    engine.speak(requests, list(files.values()), never)
    spoken = {name: soundfile.read(file) for name, file in files.items()}
    assert len(spoken["slow"][0]) > 1.4 * len(spoken["fast"][0])
    assert voice_hz(*spoken["high"]) > 1.2 * voice_hz(*spoken["low"])


def voice_hz(samples, rate):
    """Fundamental of a voice: median over loud frames of the autocorrelation's largest peak between 60 and 350 Hz."""
    n_frame, shortest, longest = rate // 20, rate // 350, rate // 60
    frames = samples[: len(samples) // n_frame * n_frame].reshape(-1, n_frame)
    loud = frames[frames.std(axis=1) > 0.5 * samples.std()]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2 * n_frame)) ** 2)[:, shortest:longest]
    return float(np.median(rate / (shortest + correlation.argmax(axis=1))))


@needs("text2wave")
def test_another_program_speaks_without_a_pitch_of_its_own(tmp_path):
    engine = read_engine(described(tmp_path, FESTIVAL))
    (voice,) = engine.voices()
    assert voice.paced and not voice.pitched
    drawn = [synth.draw("one", number, 0, {engine.name: [voice]}) for number in range(20)]
    assert {u.request.pitch for u in drawn} == {1.0} and len({u.request.speed for u in drawn}) == 20
    file = tmp_path / "a.wav"
    engine.speak([SynthesisRequest("one two", voice, 1.0, 1.0)], [file], never)
    samples, rate = soundfile.read(file)
    assert 0.4 < len(samples) / rate < 4 and np.abs(samples).max() > 0.05


def test_text_may_be_wrapped_in_markup(tmp_path):
    """`cat` says back what it was given."""
    values = {"command": ["sh", "-c", "cat > $0", "{file}"], "stdin": '<speed level="{speed:.0f}">{xml_text}</speed>'}
    text = yaml.safe_dump({"name": "echo", "licence": "CC0-1.0", "voices": ["one"], "own_speed": 100, **values})
    engine = read_engine(described(tmp_path, text))
    engine.speak([SynthesisRequest("this & that", engine.voices()[0], 1.0, 1.25)], [tmp_path / "a.txt"], never)
    assert (tmp_path / "a.txt").read_text() == '<speed level="125">this &amp; that</speed>'


def test_a_program_that_fails_leaves_nothing(tmp_path):
    text = "{name: bad, licence: x, command: [sh, -c, 'echo half > $0; exit 1', '{file}'], stdin: '{text}', voices: [one]}"
    engine = read_engine(described(tmp_path, text))
    engine.speak([SynthesisRequest("one", engine.voices()[0], 1.0, 1.0)], [tmp_path / "a.wav"], never)
    assert not (tmp_path / "a.wav").exists()


def test_a_program_that_is_not_installed_has_no_voices(tmp_path):
    text = "{name: gone, licence: x, command: [no-such-program, '{file}', '{text}'], voices: [one]}"
    assert read_engine(described(tmp_path, text)).voices() == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "'name': a text is wanted"),
        ({"name": "a/b"}, "holds a slash"),
        ({"licence": 3}, "'licence': a text is wanted, not 3"),
        ({"command": "espeak-ng {text} {file}"}, "a list of texts is wanted"),
        ({"command": ["x", "{text}"]}, r"\{file\} .* stands neither"),
        ({"command": ["x", "{file}"]}, r"\{text\} .* stands neither"),
        ({"command": ["x", "{file}", "{text}", "{tempo}"]}, r"'\{tempo\}' cannot be filled in"),
        ({"command": ["x", "{file}", "{text.__class__}"]}, "cannot be filled in"),
        ({"command": ["x", "{file}", "{text"]}, "cannot be filled in"),
        ({"command": ["x", "{file}", "{text}"], "stdin": 3}, "'stdin': a text is wanted"),
        ({"voices": []}, "'voices': a list of names"),
        ({"voices": [{"name": "a", "age": 3}]}, "'voices': a name, or"),
        ({"own_pitch": 0}, "'own_pitch': a number above 0"),
        ({"batch": 2.5}, "'batch': a number above 0"),
        ({"speed": 3}, "'speed' is not a key"),
    ],
)
def test_faults_of_a_file_are_told(tmp_path, changes, message):
    values = {"name": "x", "licence": "x", "command": ["x", "{file}", "{text}"], "voices": ["one"], **changes}
    with pytest.raises(UsageError, match=message):
        read_engine(described(tmp_path, yaml.safe_dump(values)))


@pytest.mark.parametrize("content", ["[1, 2]", "name: [", "", "\x00"])
def test_files_that_are_none_are_told(tmp_path, content):
    with pytest.raises(UsageError, match=r"engine\.yaml"):
        read_engine(described(tmp_path, content))


def test_names_that_are_taken_are_refused(tmp_path):
    text = "{name: flite, licence: x, command: [x, '{file}', '{text}'], voices: [one]}"
    with pytest.raises(UsageError, match="another synthesizer called 'flite'"):
        engines_with([described(tmp_path, text)])
