"""Words of phrase files that a model's lexicon lacks: guessed, spelled by phones, or refused with what to do."""

import doctest

import pytest
from spelling_language import dictionary

from edgeseq.data.graphones import write_guesser
from edgeseq.lm.guesser import load_guesser
from edgeseq.phrases import file
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.spelling import guess_words
from edgeseq.tokens.packed_lexicon import pack
from edgeseq.tokens.table import TokenTable

SYMBOLS = ("<blk>", "▁", "AA", "B", "D", "K", "M", "OW", "S", "SH", "UW")
LEXICON = pack([("go", ("D", "OW")), ("go", ("B", "OW")), ("one", ("UW",)), ("two", ("D", "UW"))])


@pytest.fixture(scope="module")
def guesser(tmp_path_factory):
    path = tmp_path_factory.mktemp("guesser") / "en.guesser"
    write_guesser(dictionary(300, seed=1).items(), path)
    return load_guesser(path)


def table(guesser=None):
    return TokenTable.from_details(SYMBOLS, {"kind": "phones"}, LEXICON, guesser)


def said(graph):
    """Write out the ways through a graph: (phones, words)."""
    found, pending = set(), [(0, ())]
    while pending:
        node, arcs = pending.pop()
        if graph.end_weight[node] > float("-inf"):
            phones = " ".join(graph.tokens[graph.label[graph.target[arc]]] for arc in arcs)
            found.add((phones, " ".join(word.text for word in graph.read(list(arcs)).words)))
        pending += [(int(graph.target[arc]), (*arcs, arc)) for arc in range(graph.first_arc[node], graph.first_arc[node + 1])]
    return found


def test_doctests():
    assert doctest.testmod(file).failed == 0


def test_a_word_that_the_lexicon_lacks_is_guessed(guesser):
    phrases = parse_phrases("intents: {x: ['go shado']}")
    assert dict(guess_words(phrases, table(guesser)).guessed) == {"shado": (("SH", "AA", "D", "OW"),)}
    graph = compile_phrases(phrases, table(guesser))
    assert said(graph) == {("D OW SH AA D OW", "go shado"), ("B OW SH AA D OW", "go shado")}


def test_spellings_are_guessed_and_what_they_replace_is_not(guesser):
    phrases = parse_phrases("intents: {x: [4x4]}\nspellings: {4x4: [shado one, two]}")
    assert [word for word, _ in guess_words(phrases, table(guesser)).guessed] == ["shado"]
    assert said(compile_phrases(phrases, table(guesser))) == {("SH AA D OW UW", "4x4"), ("D UW", "4x4")}


def test_phones_between_slashes_are_a_spelling():
    phrases = parse_phrases("intents: {x: ['go zed {n:1..2}']}\nspellings: {zed: [/S AA/, /  SH  AA /]}")
    ways = {phones for phones, text in said(compile_phrases(phrases, table())) if text == "go zed two"}
    assert ways == {f"{go} OW {z} AA D UW" for go in "DB" for z in ("S", "SH")}


def test_numbers_of_a_range_are_guessed(guesser):
    phrases = parse_phrases("intents: {x: ['{n:6..6}']}")
    with pytest.raises(PhraseError, match="lacks 'six', and its letters cannot be read"):
        compile_phrases(phrases, table(guesser))
    known = TokenTable.from_details(SYMBOLS, {"kind": "phones"}, pack([("six", ("S",))]), guesser)
    assert said(compile_phrases(phrases, known)) == {("S", "six")}


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("intents: {x: [go zed]}", ["1:18: the lexicon of the model lacks 'zed'; wanted words", "as zed: /P1 P2/", "AA B D K"]),
        ("intents: {x: [go]}\nspellings: {go: [zed one]}", ["lacks 'zed' (in its spelling 'zed one'); wanted"]),
        ("intents: {x: [zed]}\nspellings: {zed: /S EH D/}", ["'/S EH D/' holds 'EH', which the model does not hear; wanted"]),
        ("intents: {x: [zed]}\nspellings: {zed: / /}", ["'/ /' holds no phones; wanted phones of: AA B"]),
    ],
)
def test_what_cannot_be_pronounced(text, messages):
    with pytest.raises(PhraseError) as caught:
        compile_phrases(parse_phrases(text), table())
    assert all(message in str(caught.value) for message in messages), caught.value


def test_letters_that_no_guesser_reads(guesser):
    with pytest.raises(PhraseError, match=r"lacks '4x4', and its letters cannot be read; wanted"):
        compile_phrases(parse_phrases("intents: {x: [go 4x4]}"), table(guesser))


def test_phones_are_no_letters():
    letters = TokenTable.of_characters(["go zed"])
    with pytest.raises(PhraseError, match="which no token spells"):
        compile_phrases(parse_phrases("intents: {x: [zed]}\nspellings: {zed: /Z EH D/}"), letters)
