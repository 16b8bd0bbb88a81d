"""The clip that `make demo` plays, heard by the released model."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run

ROOT = Path(__file__).parent.parent
CLIP = ROOT / "demo" / "number.flac"
GROUPS = ["zero four one", "three nine five", "two eight seven six"]

needs_the_model = pytest.mark.skipif(
    not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="models/digits-en is not there"
)


@needs_the_model
def test_the_released_model_hears_the_clip():
    done = run("listen", "--model", ROOT / "models/digits-en", "--input", CLIP)
    assert done.returncode == 0 and done.stdout.splitlines() == GROUPS


def test_what_is_said_is_told():
    said = ", ".join(GROUPS)
    assert said in (ROOT / "Makefile").read_text() and said in (CLIP.parent / "README.md").read_text()
    assert CLIP.stat().st_size < 200_000
