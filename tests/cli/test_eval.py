"""`edgeseq eval`, from arguments to exit codes."""

import json

import numpy as np
import pytest
import soundfile
import tone_language
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.data.manifest import Recording, write_manifest


@pytest.fixture
def manifest(tmp_path):
    """Single words by two speakers, one of them not what is written."""
    recordings = []
    for speaker in ("anna", "ben"):
        for said in ("one", "two", "three", "four"):
            path = tmp_path / f"{said}-{speaker}.wav"
            samples = tone_language.say(said)
            soundfile.write(path, samples, tone_language.SAMPLE_RATE)
            text = "six" if (said, speaker) == ("two", "ben") else said
            recordings.append(Recording(path, len(samples) / tone_language.SAMPLE_RATE, text, speaker=speaker))
    write_manifest(tmp_path / "test.jsonl", recordings)
    return tmp_path / "test.jsonl"


def run(manifest, *arguments):
    return CliRunner().invoke(app, ["eval", "--manifest", str(manifest), *map(str, arguments)])


def test_figures_for_machines(tone_model, manifest):
    result = run(manifest, "--model", tone_model, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["errors"], figures["words"], figures["right"], figures["clips"]) == (1, 8, 7, 8)
    assert figures["wer"] == 1 / 8 and len(figures["ci95"]) == 2


def test_figures_for_people(tone_model, manifest):
    result = run(manifest, "--model", tone_model)
    assert "12.50 %" in result.stdout and "1 of 8" in result.stdout
    assert "six heard as two" in result.stdout


@pytest.fixture
def wordless(manifest):
    """The manifest with two recordings more in which nothing is said; in one of them words are heard."""
    lines = manifest.read_text().splitlines()
    lines += [json.dumps(json.loads(lines[0]) | {"text": ""})]
    soundfile.write(manifest.parent / "silence.wav", np.zeros(16000), 16000)
    lines += [json.dumps({"audio_filepath": "silence.wav", "duration": 1.0, "text": ""})]
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def test_words_and_none_are_measured_together(tone_model, wordless):
    figures = json.loads(run(wordless, "--model", tone_model, "--json").stdout)
    assert (figures["errors"], figures["words"], figures["clips"]) == (2, 8, 10)
    counts = {key: figures["without_words"][key] for key in ("clips", "accepted", "inserted")}
    assert counts == {"clips": 2, "accepted": 1, "inserted": 1}
    said = run(wordless, "--model", tone_model).stdout
    assert "accepted      50.00 %  (1 of 2 clips without words; 95 % interval 9.45 to 90.55 %; words inserted: 1)" in said
    assert json.loads(run(wordless, "--model", tone_model, "--connected", "0", "--json").stdout)["words"] == 8


def test_only_recordings_without_words(tone_model, wordless):
    lines = wordless.read_text().splitlines()[-2:]
    wordless.write_text("\n".join(lines) + "\n")
    figures = json.loads(run(wordless, "--model", tone_model, "--json").stdout)
    assert (figures["wer"], figures["ci95"], figures["without_words"]["share"]) == (None, None, 0.5)
    said = run(wordless, "--model", tone_model)
    assert said.exit_code == 0 and "words wrong" not in said.stdout and "accepted" in said.stdout
    refused = run(wordless, "--model", tone_model, "--connected", "0")
    assert refused.exit_code == 2 and "None of the recordings holds a word" in refused.stderr


def test_connected_words(tone_model, manifest):
    result = run(manifest, "--model", tone_model, "--connected", "0,1,2", "--json")
    figures = json.loads(result.stdout)
    assert (figures["words"], figures["errors"]) == (24, 3)


def test_comparison_hears_clips_and_five_passes(tone_model, manifest):
    result = run(manifest, "--model", tone_model, "--compare", tone_model, "--json")
    figures = json.loads(result.stdout)
    assert (figures["words"], figures["net_extra_errors"], figures["net_extra_ci95"]) == (48, 0, [0, 0])
    assert figures["errors"] == figures["other_errors"] == figures["model"]["errors"] == 6
    result = run(manifest, "--model", tone_model, "--compare", f"{tone_model.parent}:32", "--connected", "0")
    assert "net extra errors: +0 (2 against 2, over 16 words" in result.stdout


def test_the_first_clips_only(tone_model, manifest):
    result = run(manifest, "--model", tone_model, "--limit", 3, "--json")
    assert json.loads(result.stdout)["clips"] == 3


def test_a_broken_recording_is_named_and_ends_with_1(tone_model, manifest):
    (manifest.parent / "one-anna.wav").write_bytes(b"RIFF")
    result = run(manifest, "--model", tone_model, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["clips"] == 7
    assert "one-anna.wav" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--connected", "zero"], 2, "numbers from 0"),
        (["--connected", "-1"], 2, "numbers from 0"),
        (["--limit", "0"], 2, "--limit"),
        (["--compare", "no-such-model"], 2, "no-such-model"),
    ],
)
def test_wrong_usage(tone_model, manifest, arguments, code, message):
    result = run(manifest, "--model", tone_model, *arguments)
    assert result.exit_code == code and message in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 9: not JSON"),
        (json.dumps({"audio_filepath": "gone.wav", "duration": 1, "text": "one"}), "line 9: no audio file"),
        (json.dumps({"audio_filepath": "one-anna.wav", "duration": 1, "text": "zwölf"}), "'ö'"),
    ],
)
def test_a_bad_manifest_ends_with_1(tone_model, manifest, line, message):
    with manifest.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    result = run(manifest, "--model", tone_model)
    assert result.exit_code == 1 and message in result.stderr


def test_a_missing_manifest_ends_with_1(tone_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    result = run("fsdd/test.jsonl", "--model", tone_model)
    assert result.exit_code == 1 and "edgeseq data import fsdd" in result.stderr


def test_results_besides_errors(tone_model, manifest, tmp_path):
    pytest.importorskip("matplotlib")
    options = ("--model", tone_model, "--times", "--partials", "--calibration")
    result = run(manifest, *options, "--json", "--picture", tmp_path / "r.png")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["times"]["starts"]["words"] == 7 and figures["partials"]["stable"]["taken_back"] == 0
    assert sum(one["words"] for one in figures["calibration"]["bins"]) == 8
    assert set(figures["measured"]) == {"emission_delay_seconds", "ending_delay_seconds", "confidence_maps"}
    assert (tmp_path / "r.png").is_file()
    text = run(manifest, *options).stdout
    assert all(word in text for word in ("word starts", "word ends", "taken back", "expected error", "% sure"))


def test_a_comparison_measures_errors_alone(tone_model, manifest):
    result = run(manifest, "--model", tone_model, "--compare", tone_model, "--times")
    assert result.exit_code == 2 and "counts errors alone" in result.output
