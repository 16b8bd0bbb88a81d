"""The graph of phrases: as many sentences, and the same meanings, as when all are written out."""

import math
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from phrase_sentences import phrase_file, phrases_of, sentences

from edgeseq.errors import EdgeseqError
from edgeseq.phrases.checking import ambiguities, count_sentences, examples, text_of, unused
from edgeseq.phrases.compiling import compile_phrases, to_tokens, to_words
from edgeseq.phrases.file import parse_phrases, read_phrases
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.phrases.graph_making import to_graph
from edgeseq.phrases.notation import NumberRange
from edgeseq.phrases.numbers import number_of, number_phrases, number_words
from edgeseq.tokens.table import TokenTable

LETTERS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz'"])
RECIPES = Path(__file__).parents[2] / "recipes" / "phrases"


def _ways(graph: PhraseGraph):
    """Write out all ways through a graph: (text, intent, slots, log weight)."""
    pending = [(0, [], 0.0)]
    while pending:
        node, arcs, weight = pending.pop()
        if graph.end_weight[node] > -math.inf:
            reading = graph.read(arcs)
            yield text_of(reading), reading.intent, reading.slots, weight + float(graph.end_weight[node])
        for arc in range(graph.first_arc[node], graph.first_arc[node + 1]):
            pending.append((int(graph.target[arc]), [*arcs, arc], weight + float(graph.weight[arc])))


def _key(slots):
    return tuple(sorted((name, type(value).__name__, str(value)) for name, value in slots.items()))


@settings(max_examples=150, deadline=None)
@given(phrase_file)
@example({"x": [("(a | /2/ a) a", "")], "y": [("a", ""), ("(/2/ a) a", "")], "s": ["a"]})
def test_the_graph_says_what_the_file_says(parts):
    phrases = phrases_of(parts)
    every = sentences(phrases)
    assume(len(every) <= 400 and all(words for words, *_ in every))
    best: dict[tuple, float] = {}
    for words, intent, slots, weight in every:
        key = (" ".join(words), intent, _key(slots))
        best[key] = max(weight, best.get(key, -math.inf))
    made: dict[tuple, float] = {}
    for text, intent, slots, weight in _ways(compile_phrases(phrases, LETTERS)):
        key = (text, intent, _key(slots))
        made[key] = max(weight, made.get(key, -math.inf))
    # Of ways to read a sentence that weigh the same, one is left, and with it another way of the same meaning may go.
    assert all(weight <= best[key] + 1e-9 for key, weight in made.items())
    # Of sentences that are ambiguous, one reading may be left: one of the heaviest.
    assert {text for text, *_ in made} == {text for text, *_ in best}
    for text in {text for text, *_ in best}:
        heaviest = max(weight for key, weight in best.items() if key[0] == text)
        assert max(weight for key, weight in made.items() if key[0] == text) == pytest.approx(heaviest)


@settings(max_examples=100, deadline=None)
@given(phrase_file)
def test_sentences_are_counted_without_being_written_out(parts):
    phrases = phrases_of(parts)
    every = sentences(phrases)
    assume(len(every) <= 400 and all(words for words, *_ in every))
    count = count_sentences(to_words(phrases))
    assert count.is_exact and count.n == len({words for words, *_ in every})


@settings(max_examples=100, deadline=None)
@given(phrase_file)
def test_ambiguities_are_found(parts):
    phrases = phrases_of(parts)
    every = sentences(phrases)
    assume(len(every) <= 300 and all(words for words, *_ in every))
    meanings: dict[str, set] = {}
    for words, intent, slots, _ in every:
        meanings.setdefault(" ".join(words), set()).add((intent, _key(slots)))
    found = ambiguities(to_tokens(to_words(phrases), phrases, LETTERS), LETTERS)
    assert bool(found) == any(len(several) > 1 for several in meanings.values())
    for ambiguity in found:
        both = {(r.intent, _key(r.slots)) for r in (ambiguity.first, ambiguity.second)}
        assert len(both) == 2 and both <= meanings[ambiguity.text]


def test_numbers_are_words_and_words_are_numbers():
    for number in (*range(-120, 2200), 9_999, 10_000, 30_005, 100_000, 219_019, 999_999, -999_999):
        words = number_words(number)
        assert number_of(words) == number
        assert " ".join(words).replace("minus ", "").replace(" ", "").isalpha()
    assert " ".join(number_words(714_312)) == "seven hundred fourteen thousand three hundred twelve"


@pytest.mark.parametrize(
    ("first", "last", "step"),
    [(1, 90, 1), (0, 0, 1), (7, 7, 1), (95, 105, 1), (199, 1_001, 1), (-15, 5, 1), (-12, -3, 1), (0, 100, 5), (997, 2_003, 1),
     (1_000, 1_000, 1), (19_950, 21_050, 1)],
)  # fmt: skip
def test_number_ranges_hold_their_numbers_and_no_others(first, last, step):
    phrases = parse_phrases(f"intents: {{t: 'in {{n:{first}..{last}/{step}}} s'}}")
    heard = {}
    for text, _, slots, _ in _ways(compile_phrases(phrases, LETTERS)):
        heard.setdefault(slots["n"], set()).add(text)
    assert sorted(heard) == list(range(first, last + 1, step))
    assert all(f"in {' '.join(number_words(n))} s" in texts for n, texts in heard.items())
    if step == 1 and first <= 105 <= last:
        assert heard[105] == {"in one hundred five s", "in one hundred and five s"}


def test_a_million_numbers_take_little_room():
    graph = compile_phrases(parse_phrases("intents: {t: '{n:0..999999}'}"), LETTERS)
    assert graph.n_nodes < 6_000
    count = count_sentences(to_words(parse_phrases("intents: {t: '{n:0..999999}'}")))
    assert count.n > 1_000_000
    assert number_phrases(NumberRange(0, 999)) is number_phrases(NumberRange(0, 999))


def test_a_million_sentences_are_not_written_out():
    one_of_ten = "(" + " | ".join(f"w{letter}" for letter in "abcdefghij") + ")"
    phrases = parse_phrases(f"intents: {{t: '{' '.join([one_of_ten] * 8)}'}}")
    assert count_sentences(to_words(phrases)).n == 10**8
    assert compile_phrases(phrases, LETTERS).n_nodes == 1 + 8 * 12


def test_ends_of_values_are_shared_between_values_and_intents():
    lists = "slots: {s: [eight ounce, twenty ounce, sixty ounce]}"
    one = compile_phrases(parse_phrases(f"intents: {{a: 'on {{s}}'}}\n{lists}"), LETTERS)
    two = compile_phrases(parse_phrases(f"intents: {{a: 'on {{s}}', b: 'off {{s}}'}}\n{lists}"), LETTERS)
    assert two.n_nodes == one.n_nodes + 2  # two letters f; the list is there once
    readings = {text: (intent, slots) for text, intent, slots, _ in _ways(two)}
    assert readings["off twenty ounce"] == ("b", {"s": "twenty ounce"})
    assert len(readings) == 6


def test_values_are_typed():
    slots = "[{say: a, mean: 1}, {say: b, mean: 1.0}, {say: c, mean: true}, {say: d, mean: '1'}, E]"
    text = f"intents: {{a: '{{s}}'}}\nslots: {{s: {slots}}}"
    values = {text: slots["s"] for text, _, slots, _ in _ways(compile_phrases(parse_phrases(text), LETTERS))}
    assert [(type(v), v) for _, v in sorted(values.items())] == [(int, 1), (float, 1.0), (bool, True), (str, "1"), (str, "E")]


def test_spellings_stand_for_words():
    text = (
        "intents: {a: 'mix {s} now'}\nslots: {s: [8oz, two 8oz]}\nspellings: {8oz: [eight ounce, ate ounce], now: [naw, now]}"
    )
    ways = list(_ways(compile_phrases(parse_phrases(text), LETTERS)))
    assert {(text, slots["s"]) for text, _, slots, _ in ways} == {("mix 8oz now", "8oz"), ("mix two 8oz now", "two 8oz")}
    assert len(ways) == 8
    graph = compile_phrases(parse_phrases(text), LETTERS)
    reading = next(graph.read(arcs) for arcs in _arcs(graph) if len(arcs) == len("▁mix▁eight▁ounce▁now"))
    assert [(word.text, word.first, word.last) for word in reading.words] == [("mix", 0, 3), ("8oz", 4, 15), ("now", 16, 19)]


def _arcs(graph):
    pending = [(0, [])]
    while pending:
        node, arcs = pending.pop()
        if graph.end_weight[node] > -math.inf:
            yield arcs
        pending += [(int(graph.target[arc]), [*arcs, arc]) for arc in range(graph.first_arc[node], graph.first_arc[node + 1])]


def test_words_that_sound_alike_are_told_of():
    phrases = parse_phrases("intents: {a: 'go to', b: 'go two'}\nspellings: {to: [tu], two: [tu]}")
    (ambiguity,) = ambiguities(to_tokens(to_words(phrases), phrases, LETTERS), LETTERS)
    assert ambiguity.text == "go tu"
    assert {ambiguity.first.intent, ambiguity.second.intent} == {"a", "b"}


def test_several_alphabets():
    phrases = parse_phrases("intents: {a: ['включи {s}', 'schließe {s}']}\nslots: {s: [свет, Küche, 'cafe\u0301']}")
    tokens = TokenTable.of_characters(["включи свет schließe küche café"])
    said = {(text, slots["s"]) for text, _, slots, _ in _ways(compile_phrases(phrases, tokens))}
    assert ("включи свет", "свет") in said and ("schließe küche", "Küche") in said
    assert any(text == "schließe café" for text, _ in said)


def test_graphs_are_written_down_and_read_back():
    graph = compile_phrases(read_phrases(RECIPES / "house.yaml"), LETTERS)
    again = PhraseGraph.from_bytes(graph.to_bytes())
    assert again.digest == graph.digest and again.outputs == graph.outputs
    assert again.to_bytes() == graph.to_bytes()
    other = compile_phrases(parse_phrases("intents: {a: b}"), LETTERS)
    assert other.digest != graph.digest
    content = graph.to_bytes()
    for broken in (b"", b"no zip", content[: len(content) // 2], content.replace(b"SlotMark", b"SpotMark"), _wrong(graph)):
        with pytest.raises(EdgeseqError, match="not a phrase graph"):
            PhraseGraph.from_bytes(broken)


def _wrong(graph):
    """Write a graph whose arcs lead out of it."""
    from dataclasses import replace

    return replace(graph, target=graph.target + 1000).to_bytes()


def test_examples_are_sentences_of_the_file():
    graph = compile_phrases(read_phrases(RECIPES / "digits.yaml"), LETTERS)
    drawn = examples(graph, 50)
    assert {text_of(reading) for reading in drawn} <= {number_words(n)[0] for n in range(10)}
    assert len(examples(graph, 3)) == 3 and examples(graph, 0) == []


def test_what_nothing_uses_is_told_of():
    text = "intents: {a: '{used}'}\nrules:\n  used: b\n  idle: '{far}'\nslots:\n  far: [c]\nspellings:\n  zzz: [x]\n"
    assert unused(parse_phrases(text)) == ["4:9: rule 'idle'", "6:8: slot 'far'", "8:8: spelling of 'zzz'"]


@settings(max_examples=40, deadline=None)
@given(phrase_file, st.integers(2, 40))
def test_a_graph_too_large_is_refused_and_never_wrong(parts, max_states):
    phrases = phrases_of(parts)
    try:
        graph = compile_phrases(phrases, LETTERS, max_states=max_states)
    except EdgeseqError:
        return
    words = to_words(phrases)
    assert to_graph(to_tokens(words, phrases, LETTERS), LETTERS).digest == graph.digest
