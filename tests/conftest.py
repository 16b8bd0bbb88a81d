"""Fixtures that many tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for helpers such as tone_language.py


@pytest.fixture(scope="session")
def tone_model(tmp_path_factory):
    """A model file whose words are known; see tone_language.py."""
    pytest.importorskip("onnx")
    import tone_language

    return tone_language.save(tmp_path_factory.mktemp("models") / "tones" / "model.onnx")


@pytest.fixture(scope="session")
def tone_recognizer(tone_model):
    import edgeseq

    return edgeseq.load(tone_model)
