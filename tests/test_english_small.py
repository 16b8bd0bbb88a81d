"""The released model of English: its words from its companions, phrases that it hears, phrases that nobody said."""

from pathlib import Path

import jiwer
import pytest

import edgeseq
from edgeseq.phrases import load_phrases

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "demo" / "number.flac"
SAID = "zero four one three nine five two eight seven six"


@pytest.fixture(scope="module")
def recognizer():
    if not (ROOT / "models" / "english-small" / "model.int8.onnx").is_file():
        pytest.skip("models/english-small is not in this tree")
    return edgeseq.load("english-small")


def word_errors(words):
    return jiwer.process_words(SAID, " ".join(words)).wer * len(SAID.split())


def with_phrases(recognizer, name):
    return recognizer.with_decoder(load_phrases(ROOT / "recipes" / "phrases" / name, recognizer.metadata))


def test_it_dictates_with_its_own_words(recognizer):
    """The clip is a synthesizer's, and the model is judged by people (its card): about half of the words will do."""
    words = recognizer.transcribe(CLIP).text.split()
    assert "nine five" in " ".join(words)
    assert word_errors(words) <= 5


def test_phrases_of_a_file_are_heard_in_a_voice_of_another_corpus(recognizer):
    digits = with_phrases(recognizer, "digit-strings.yaml")
    assert word_errors(digits.transcribe(CLIP).text.split()) <= 1


def test_phrases_that_nobody_said_are_rejected(recognizer):
    assert with_phrases(recognizer, "house.yaml").transcribe(CLIP).text == ""
