import doctest

import pytest

from edgeseq.decoding import lexicon as lexicons
from edgeseq.decoding.lexicon import Lexicon, read_lexicon
from edgeseq.errors import WordListError
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz"])


def save(folder, content):
    path = folder / "words.txt"
    path.write_text(content, encoding="utf-8")
    return path


def test_doctests():
    assert doctest.testmod(lexicons).failed == 0


def test_words_and_how_they_sound(tmp_path):
    content = "# rooms\nKitchen\nsiobhan shivawn\nsiobhan ▁ s h i v o n # another way\n"
    lexicon = read_lexicon(save(tmp_path, content), TOKENS)
    assert lexicon.spellings == ["kitchen", "shivawn", "shivon"]
    assert [lexicon.words(spelling) for spelling in lexicon.spellings] == [("kitchen",), ("siobhan",), ("siobhan",)]


def test_words_that_sound_alike():
    lexicon = Lexicon([("to", "to"), ("to", "two"), ("to", "to"), ("ton", "ton")])
    assert lexicon.words("to") == ("to", "two")
    assert (lexicon.span(""), lexicon.span("to"), lexicon.span("ton"), lexicon.span("x")) == ((0, 2), (0, 2), (1, 2), (2, 2))


def test_identity_is_of_words_and_spellings():
    assert Lexicon([("a", "a")]).identity != Lexicon([("a", "b")]).identity
    assert Lexicon([("a", "a"), ("b", "b")]).identity == Lexicon([("b", "b"), ("a", "a")]).identity


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("# none\n", ["the lexicon is empty"]),
        ("fine\ncafé\nr2\n", ["2 faults: no token of the model spells them", ":2: 'café' needs 'é'", ":3: 'r2' needs '2'"]),
        ("word ▁\n", [":1: 'word' needs letters"]),
    ],
)
def test_files_with_faults(tmp_path, content, messages):
    with pytest.raises(WordListError) as caught:
        read_lexicon(save(tmp_path, content), TOKENS)
    assert all(message in str(caught.value) for message in messages)
