import json

import pytest

pytest.importorskip("onnx")
from command_line import run


@pytest.fixture(scope="module")
def shelf(tone_model):
    return {"EDGESEQ_MODELS": str(tone_model.parent.parent)}


def test_list(shelf, tone_model):
    done = run("models", "list", env=shelf)
    assert done.returncode == 0 and any(line.startswith("tones  32 bit") for line in done.stdout.splitlines())
    found = json.loads(run("models", "list", "--json", env=shelf).stdout)
    assert {"name": "tones", "folder": str(tone_model.parent), "bits": [32]} in found


def test_info(shelf):
    done = run("models", "info", "tones", env=shelf)
    assert (
        done.returncode == 0
        and "sound         8,000 Hz, 80 ms at a time" in done.stdout
        and "understands   words of the" in done.stdout
    )
    assert all(len(line) <= 80 for line in run("models", "info", "digits-en").stdout.splitlines())
    assert json.loads(run("models", "info", "tones", "--json", env=shelf).stdout)["blank_id"] == 0


def test_verify(shelf, tmp_path, tone_model):
    done = run("models", "verify", "tones", env=shelf)
    assert done.returncode == 0 and done.stdout.endswith("all checks passed\n") and "sha256" in done.stdout
    (tmp_path / "cut.onnx").write_bytes(tone_model.read_bytes()[:-1000])
    done = run("models", "verify", tmp_path / "cut.onnx")
    assert done.returncode == 1 and "FAILED" in done.stdout and "cut short" in done.stderr


def test_no_such_model(shelf):
    done = run("models", "info", "tone", env=shelf)
    assert done.returncode == 2 and "Did you mean 'tones'?" in done.stderr
