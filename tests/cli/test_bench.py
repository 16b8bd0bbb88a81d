"""`edgeseq bench`."""

import json
import subprocess
import sys

import pytest
from command_line import run
from typer.testing import CliRunner

from edgeseq.cli import app

TINY = ["--shape", "gru:1x8", "--inputs", "6", "--tokens", "5", "--rounds", "1"]


def bench(*words):
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def test_rows_for_machines(tone_model):
    result = bench("--model", tone_model, "--seconds", "2", "--profile", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [row["model"] for row in figures["rows"]] == ["tones"] and figures["help_seconds"] > 0
    assert figures["profiles"]["model.onnx"]["operators"] and figures["machine"]["cores"] >= 1


def test_a_missing_model_ends_with_2():
    result = bench("--model", "no-such-model")
    assert result.exit_code == 2 and "no-such-model" in result.stderr


def test_a_network_beside_its_peers(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    chart = tmp_path / "chart.png"
    result = bench(*TINY, "--chunk-steps", "1,2", "--bits", "8,32", "--peers", "--streams", "1,3", "--chart", chart, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert {(row["runtime"], row["bits"]) for row in figures["rows"]} >= {
        ("edgeseq", 8),
        ("edgeseq", 32),
        ("torch", 32),
        ("onnxruntime-float", 32),
    }
    assert {row["chunk_steps"] for row in figures["rows"]} == {1, 2} and {row["streams"] for row in figures["rows"]} == {1, 3}
    assert {ratio["of"] for ratio in figures["ratios"]} >= {"torch", "onnxruntime-float", "edgeseq, one by one"}
    assert figures["faults"] == {} and chart.read_bytes().startswith(b"\x89PNG")


def test_a_table_and_a_profile():
    pytest.importorskip("torch")
    result = bench(*TINY, "--profile")
    assert result.exit_code == 0, result.output
    assert "us/step" in result.stdout and "us/chunk" in result.stdout and "a run that nobody observes" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "gru:4"], "wanted CELL:LAYERSxSIZE, such as gru:4x512"),
        (["--shape", "sru:4x4"], "there is no cell 'sru'"),
        (["--bits", "7"], "--bits 7: wanted some of 4, 8, 32"),
        (["--bits", "eight"], "wanted whole numbers between commas"),
        ([*TINY, "--streams", "0"], "--streams 0"),
        ([*TINY, "--chunk-steps", "0"], "--chunk-steps 0"),
        ([*TINY, "--model", "digits-en"], "leave out --model, or --shape"),
        ([*TINY, "--memory"], "--memory is about a model's whole path"),
        (["--chart", "x.png"], "give --shape, --peers or --streams"),
        (["--shape", "gru:1x8", "--rounds", "0"], "--rounds"),
        ([*TINY, "--target", "pi9"], "'pi9' is not a target"),
    ],
)
def test_faults(words, message):
    result = bench(*words)
    assert result.exit_code == 2 and message in result.stderr and result.stdout == ""


def test_without_torch_it_says_what_is_missing():
    """A torch that cannot be found, as in the base install."""
    code = "import sys; sys.modules['torch'] = None; from edgeseq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "bench", *TINY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "edgeseq[train]" in done.stderr and "Traceback" not in done.stderr


def test_help_names_what_can_be_measured():
    done = run("bench", "--help")
    assert done.returncode == 0 and "--peers" in done.stdout and "--streams" in done.stdout and "--shape" in done.stdout
