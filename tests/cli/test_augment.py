"""`edgeseq augment`, from arguments to sound files, a picture and a loudspeaker."""

import subprocess

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile
from command_line import run as run_program
from sound_server import needs_sound_server, sound_server
from typer.testing import CliRunner

from edgeseq.cli import app

RECIPE = """
name: tones
language: zxx
license: CC0-1.0
data_statement: none
data: {train: [{manifest: none.jsonl, easy: true}]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a recipe and an utterance of one second at 16 kHz."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    time = np.arange(16_000) / 16_000
    soundfile.write(tmp_path / "tone.wav", 0.1 * np.sin(2 * np.pi * 440 * time), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["augment", "tone.wav", "--recipe", "recipe.yaml", *map(str, arguments)])


def test_sound_picture_and_words_are_given(here):
    done = run("--count", 2, "--out", "seen", "--seed", 5)
    assert done.exit_code == 0, done.output
    names = ["tone-as-it-is.wav", "tone-seed-5.wav", "tone-seed-6.wav", "tone.png"]
    assert sorted(path.name for path in (here / "seen").iterdir()) == names
    assert (here / "seen/tone.png").read_bytes().startswith(b"\x89PNG")
    assert "times as fast" in done.stdout and "mels stretched" in done.stdout
    sounds = [soundfile.read(here / "seen" / name)[0] for name in names[:3]]
    assert len(sounds[0]) == 8000 and not np.array_equal(sounds[1], sounds[2])


def test_the_same_seed_sounds_the_same(here):
    for folder in ("one", "two"):
        assert run("--count", 1, "--seed", 3, "--out", folder).exit_code == 0
    one, two = ((here / folder / "tone-seed-3.wav").read_bytes() for folder in ("one", "two"))
    assert one == two


def test_only_what_is_named_is_done(here):
    overrides = ["augment.noise={snr_db: [20, 20]}", "augment.clipping.below_peak_db=[0, 0]"]
    done = run("--only", "noise, clipping", "--count", 1, *overrides)
    told = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert told == ["noise", "clipping"]
    changed, _ = soundfile.read(here / "augmented/tone-seed-0.wav")
    assert "20.0 dB under the speech" in done.stdout
    noise = changed[8000:]  # the tail that the recipe keeps free
    assert 20 * np.log10(np.std(changed[:8000]) / np.std(noise)) == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "echo"], 2, "'echo' is not an augmentation. Choose from: "),
        (["--only", "recorded_noise"], 2, "'sounds' is missing"),
        (["--only", "recorded_noise", "augment.recorded_noise.sounds=nowhere"], 1, "no such folder of sounds"),
        (["augment.noise.snr=3"], 2, "unknown key"),
        (["--recipe", "gone.yaml"], 2, "cannot be read as a recipe"),
    ],
)
def test_what_cannot_be_done_is_told(here, arguments, code, message):
    done = run(*arguments)
    assert done.exit_code == code and message in done.stderr and "Traceback" not in done.stderr


@needs_sound_server
def test_it_is_played(here):
    with sound_server() as server:
        recorded = here / "heard.wav"
        command = ["parecord", "--device=speaker.monitor", "--rate=8000", "--channels=1", "--format=s16le", str(recorded)]
        with subprocess.Popen(command, env=server.environment) as recorder:
            arguments = [
                "tone.wav",
                "--recipe",
                "recipe.yaml",
                "--count",
                1,
                "--only",
                "speed",
                "--play",
                "augment.speed=[1, 1]",
            ]
            done = run_program("augment", *arguments, env=server.environment)
            recorder.terminate()
    assert done.returncode == 0, done.stderr
    heard, _ = soundfile.read(recorded)
    assert np.sum(np.abs(heard) > 0.02) > 0.9 * 2 * 8000 * 0.8  # both, less what a sine spends near zero


def test_without_a_loudspeaker_the_files_are_there_all_the_same(here, tmp_path):
    env = {"PULSE_SERVER": f"unix:{tmp_path}/nothing", "HOME": str(tmp_path)}
    done = run_program("augment", "tone.wav", "--recipe", "recipe.yaml", "--count", 1, "--play", env=env)
    assert done.returncode == 1 and "sound cannot be played" in done.stderr and "Traceback" not in done.stderr
    assert (here / "augmented/tone-seed-0.wav").is_file() and (here / "augmented/tone.png").is_file()
