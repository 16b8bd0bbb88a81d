"""The phrase files of the recipes and of the docs are what they say."""

import re
from pathlib import Path

import pytest

from edgeseq.phrases.checking import ambiguities
from edgeseq.phrases.compiling import compile_phrases, to_tokens, to_words
from edgeseq.phrases.file import parse_phrases, read_phrases
from edgeseq.tokens import TokenTable

ROOT = Path(__file__).parents[2]
LETTERS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz"])


@pytest.mark.parametrize("file", sorted((ROOT / "recipes" / "phrases").glob("*.yaml")), ids=lambda file: file.name)
def test_phrase_files_of_the_recipes(file):
    phrases = read_phrases(file)
    assert compile_phrases(phrases, LETTERS).n_nodes > 10
    assert ambiguities(to_tokens(to_words(phrases), phrases, LETTERS), LETTERS) == []


def test_phrase_files_of_the_docs():
    text = (ROOT / "docs" / "phrases.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        graph = compile_phrases(parse_phrases(block), LETTERS)
        assert graph.n_nodes > 10
