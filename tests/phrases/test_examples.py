"""The phrase file that a model is shown as an example is one that it understands."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import edgeseq
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.examples import DIGITS, LIGHTS, example_for
from edgeseq.phrases.file import parse_phrases
from edgeseq.tokens.table import TokenTable
from edgeseq.training.tokens import whole_words

ROOT = Path(__file__).parents[2]


class Metadata:
    """As much of a model's as an example needs."""

    def __init__(self, token_table, language="en"):
        self.token_table, self.language = token_table, language


@pytest.mark.parametrize(("name", "expected"), [("digits-en", DIGITS), ("english-small", LIGHTS)])
def test_released_models(name, expected):
    if not (ROOT / "models" / name / "model.int8.onnx").is_file():
        pytest.skip(f"models/{name} is not there")
    metadata = edgeseq.load(name).metadata
    assert example_for(metadata) == expected
    assert compile_phrases(parse_phrases(expected, language="en"), metadata.token_table).n_arcs > 10


def test_words_that_were_taught():
    tokens = whole_words(["yes", "no", "on"])
    text = example_for(Metadata(tokens))
    graph = compile_phrases(parse_phrases(text, language="en"), tokens)
    assert graph.n_arcs and all(f'- "{word}"' in text for word in ("yes", "no", "on"))


def test_other_languages_and_too_few_letters_have_none():
    assert example_for(Metadata(TokenTable.of_characters(["lampe an"]), "de")) == ""
    assert example_for(Metadata(TokenTable.of_characters(["abc"]))) == ""
