"""`edgeseq export`: files of every width and target, and what is said when there can be none."""

import pytest

pytest.importorskip("torch")

import torch
from command_line import run
from safetensors import safe_open
from safetensors.torch import save_file

from edgeseq.model.network import Network
from edgeseq.training.checkpoint import Checkpoint, save_checkpoint

MODEL = "models/digits-en"


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    """Nothing to prove a released model on."""
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)


def test_every_width_for_a_target(tmp_path):
    result = run("export", MODEL, "--out", str(tmp_path), "--bits", "32", "--bits", "8", "--bits", "4", "--target", "x86")
    assert result.returncode == 0, result.stderr
    assert "4-bit weights, steps written out, integer products" in result.stderr
    sizes = [(tmp_path / f"model{kind}.onnx").stat().st_size for kind in ("", ".int8", ".int4")]
    assert sizes[0] > 3 * sizes[1] > 4 * sizes[2]
    about = Network(tmp_path / "model.int4.onnx").metadata
    assert (about.quantization, about.target) == ("int4", "x86")
    assert about.emission_delay_seconds > 0, "what was measured of the model stays"
    assert "not proven: the recipe's validation recordings are not here" in result.stderr and about.proof == {}


def test_auto_says_what_it_chose(tmp_path):
    result = run("export", "digits-en", "--out", str(tmp_path), "--bits", "4", "--target", "auto")
    assert result.returncode == 0, result.stderr
    assert "4-bit weights, " in result.stderr and Network(tmp_path / "model.int4.onnx").metadata.target == "auto"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "z80"], "'z80' is not a target. There are generic, x86, pi4, pi5 and auto"),
        (["--bits", "7"], "7 bits a weight: there are 32, 8, 4"),
        (["--chunk-ms", "10"], "not a multiple of a step"),
    ],
)
def test_what_cannot_be_made_leaves_no_file(tmp_path, arguments, said):
    result = run("export", MODEL, "--out", str(tmp_path / "out"), *arguments)
    assert result.returncode in (1, 2) and said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("export", "digit-en", "--out", "out"), ("prove", "digit-en")])
def test_weights_that_are_not_there_are_looked_for(tmp_path, words):
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 2 and "there is no digit-en. Looked for:" in result.stderr and "runs/NAME" in result.stderr


def test_no_flush_at_all_may_be_wanted(tmp_path):
    result = run("export", MODEL, "--out", str(tmp_path), "--bits", "32", "--flush-seconds", "0")
    assert result.returncode == 0 and Network(tmp_path / "model.onnx").metadata.flush_seconds == 0


def test_weights_of_another_version_are_named(tmp_path):
    with safe_open(f"{MODEL}/weights.safetensors", framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        about = dict(file.metadata())
    about["edgeseq"] = about["edgeseq"].replace('"format": 2', '"format": 1')
    save_file(weights, tmp_path / "weights.safetensors", metadata=about)
    result = run("export", str(tmp_path), "--out", str(tmp_path / "out"))
    assert result.returncode == 1 and "weights of another version of edgeseq (format 1; this one reads 3)" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_version_is_named(tmp_path):
    path = save_checkpoint(tmp_path, Checkpoint(3, {}, {}, {}, {}, {}))
    values = torch.load(path, weights_only=True)
    del values["format"]
    torch.save(values, path)
    result = run("export", str(path), "--out", str(tmp_path / "out"))
    assert result.returncode == 1 and "format 1; this one reads 4" in result.stderr
