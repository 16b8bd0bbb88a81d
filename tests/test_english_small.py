"""The released model of English: its words from its companions, phrases that it hears, phrases that nobody said."""

from pathlib import Path

import pytest

import edgeseq
from edgeseq.phrases import load_phrases

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "demo" / "number.flac"


@pytest.fixture(scope="module")
def recognizer():
    if not (ROOT / "models" / "english-small" / "model.int8.onnx").is_file():
        pytest.skip("models/english-small is not in this tree")
    return edgeseq.load("english-small")


def with_phrases(recognizer, name):
    return recognizer.with_decoder(load_phrases(ROOT / "recipes" / "phrases" / name, recognizer.metadata))


def test_it_dictates_with_its_own_words(recognizer):
    words = recognizer.transcribe(CLIP).text.split()
    assert words[:3] == ["zero", "four", "one"]
    assert len(words) >= 9


def test_phrases_of_a_file_are_heard_in_a_voice_of_another_corpus(recognizer):
    digits = with_phrases(recognizer, "digit-strings.yaml")
    assert digits.transcribe(CLIP).text == "zero four one three nine five two eight seven six"


def test_phrases_that_nobody_said_are_rejected(recognizer):
    assert with_phrases(recognizer, "house.yaml").transcribe(CLIP).text == ""
