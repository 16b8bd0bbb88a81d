"""Phrase files: what they hold, and every fault with line and column, all at once."""

import pytest

from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.faults import MAX_FAULTS, PhraseError
from edgeseq.phrases.file import parse_phrases, read_phrases
from edgeseq.phrases.notation import Choice, NumberRange, Reference, Sequence, Word, parse_phrase
from edgeseq.tokens.table import TokenTable

LETTERS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz'"])


def _faults(text, compile_with=None):
    with pytest.raises(PhraseError) as caught:
        phrases = parse_phrases(text, "p.yaml")
        compile_phrases(phrases, compile_with or LETTERS)
    assert caught.value.exit_code == 2 and "p.yaml" in str(caught.value)
    return [(fault.place.line, fault.place.column, fault.message) for fault in caught.value.faults]


def _phrase_fault(phrase):
    """Faults of one phrase, columns counted in the phrase."""
    return [(fault.place.column, fault.message) for fault in parse_phrase(phrase)[1]]


@pytest.mark.parametrize(
    ("phrase", "column", "says"),
    [
        ("go (left | right", 4, "'(' is never closed; wanted ')'"),
        ("go [left", 4, "'[' is never closed; wanted ']'"),
        ("go left)", 8, "')' closes nothing; wanted '(' before it"),
        ("go left] now", 8, "']' closes nothing; wanted '[' before it"),
        ("go (left]", 9, "']' closes a '('; wanted ')'"),
        ("go (left | )", 10, "nothing stands here; wanted words"),
        ("go (| left)", 4, "nothing stands here"),
        ("go ()", 4, "nothing stands here"),
        ("go []", 4, "nothing stands here"),
        ("go | | left", 4, "nothing stands here"),
        ("", 1, "the phrase is empty"),
        ("   ", 1, "the phrase is empty"),
        ("go { left", 4, "'{' stands alone; wanted '}' after a name"),
        ("go } left", 4, "'}' stands alone; wanted '{' before it"),
        ("go {}", 4, "{} names nothing; wanted {name}"),
        ("go {two words}", 4, "{two words} names nothing"),
        ("go {x:1..}", 4, "{x:1..} names nothing"),
        ("go {x:9..1}", 4, "the range 9..1 is empty; wanted the smaller number first"),
        ("go {x:1..9/0}", 4, "the range 1..9 has a step of 0"),
        ("go {x:1..9999999}", 4, "the range 1..9999999 is too wide"),
        ("go {x:1..999999/2}", 4, "the range 1..999999 in steps has 500,000 numbers"),
        ("light[s]", 6, "'[' touches 'light'; wanted a space between them"),
        ("(a)(b)", 4, "'(' touches ')'"),
        ("{x}s", 4, "'s' touches '{x}'"),
        ("go (/0/ a | b)", 5, "the weight /0/ is not a number above 0"),
        ("go (/x/ a | b)", 5, "the weight /x/ is not a number above 0"),
        ("go (a /2/ b | c)", 7, "the weight /2/ follows words"),
        ("go left\\", 8, "a backslash ends the phrase"),
        ("[" * 51 + "a" + "]" * 51, 51, "more than 50 brackets within each other"),
    ],
)
def test_faults_of_a_phrase(phrase, column, says):
    (fault,) = _phrase_fault(phrase)
    assert fault[0] == column
    assert fault[1].startswith(says)


def test_all_faults_of_a_phrase_come_at_once():
    assert [column for column, _ in sorted(_phrase_fault("( | a) {} light[s] (/0/ b | c"))] == [1, 8, 16, 20, 21]


def test_the_notation():
    node, faults = parse_phrase("Turn (on | /2/ off) [the] {light} {lights:which} {level:0..100/5}")
    assert not faults and isinstance(node, Sequence)
    turn, switch, the, light, which, level = node.items
    assert turn.text == "turn"
    assert isinstance(switch, Choice) and switch.weights == (1, 2) and [o.text for o in switch.options] == ["on", "off"]
    assert isinstance(the, Choice) and the.options[1] == Sequence(())
    assert (light.name, light.alias, light.numbers) == ("light", None, None)
    assert (which.name, which.alias) == ("lights", "which")
    assert isinstance(level, Reference) and level.numbers == NumberRange(0, 100, 5) and len(level.numbers) == 21
    assert parse_phrase("a | b")[0].weights == (1, 1)
    assert parse_phrase(r"\(x\) and/or")[0].items[0].text == "(x)"
    assert isinstance(parse_phrase("Straße")[0], Word)


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, 1, "the file is empty"),
        ("# nothing\n", 1, 1, "the file is empty"),
        ("intents: {a: [go (left) now]}", 1, 1, ""),
        ("- a\n", 1, 1, "the file is a list; wanted a mapping"),
        ("intents:\n", 1, 9, "intents holds none"),
        ("intents: 3\n", 1, 10, "intents is '3'; wanted a mapping"),
        ("rules: {a: b}\n", 1, 1, "there are no intents"),
        ("intents: {a: []}\n", 1, 14, "intent 'a' is an empty list"),
        ("intents: {a: b}\nslot: {}\n", 2, 1, "the file has no key 'slot'; did you mean 'slots'?"),
        ("intents: {a: b}\nzzz: {}\n", 2, 1, "the file has no key 'zzz'; wanted one of: language"),
        ("intents:\n  a: b\n  a: c\n", 3, 3, "'a' stands twice in intents"),
        ("intents:\n  a b: c\n", 2, 3, "'a b' is not a name"),
        ("intents:\n  a: [[b]]\n", 2, 7, "a phrase is a list; wanted text"),
        ("intents:\n  a:\n    - b: c\n      say: d\n", 3, 7, "a phrase has no key 'b'"),
        ("intents: {a: [{weight: 2}]}\n", 1, 15, "a phrase has no `say`"),
        ("intents: {a: [{say: b, weight: x}]}\n", 1, 32, "the weight is x; wanted a number above 0"),
        ("intents: {a: [{say: b, weight: '2'}]}\n", 1, 32, "the weight is 2"),
        ("intents: {a: [{say: b, slots: {c: [1]}}]}\n", 1, 35, "a slot's value is a list"),
        ("intents: {a: '{s}'}\nslots: {s: 9..1}\n", 2, 12, "slot 's' is '9..1'; wanted a range such as 1..90"),
        ("intents: {a: '{s}'}\nslots: {s: []}\n", 2, 12, "slot 's' is an empty list"),
        ("intents: {a: '{s}'}\nslots: {s: [{say: b, means: 1}]}\n", 2, 22, "an entry of a slot has no key 'means'; did you"),
        ("intents: {a: '{s}'}\nslots: {s: [b]}\nrules: {s: b}\n", 3, 9, "'s' is both a rule and a slot"),
        ("intents: {a: b}\nspellings: {b c: [d]}\n", 2, 18, "spellings are of single words, and 'b c' is not one"),
        ("intents: {a: b}\nspellings: {b: ['']}\n", 2, 16, "a spelling of 'b' is empty"),
        ("intents: {a: b}\nthreshold: 3\n", 2, 12, "the threshold is 3; wanted a number of 0 or less"),
        ("intents:\n  a: 'go {nowhere}'\n", 2, 10, "no slot or rule is called 'nowhere'; wanted one of: none is defined"),
        ("intents:\n  a: '{colour}'\nslots: {color: [red]}", 2, 7, "no slot or rule is called 'colour'; did you mean {color}?"),
        ("intents: {a: '{r}'}\nrules: {r: 'x [{r}]'}\n", 2, 16, "{r} uses itself (r -> r); wanted phrases that end"),
        ("language: de\nintents: {a: '{n:1..3}'}\n", 2, 15, "numbers are spelled in English only, and the language is 'de'"),
        ("intents:\n  a:\n    - '[x] [y]'\n", 3, 7, "this phrase of intent 'a' may be empty"),
        ("intents: {a: '{r}'}\nrules: {r: '[x]'}\n", 1, 14, "this phrase of intent 'a' may be empty"),
        ("intents:\n  a: say über\n", 2, 10, "'über' holds 'ü', which no token spells; wanted letters of"),
        ("intents:\n  a: b\nspellings:\n  b: [x, é]\n", 4, 6, "'b' (in its spelling 'é') holds 'é'"),
        ("intents: {a: 'b\n", 2, 1, ""),
        ('intents: {a: "b\x07"}\n', 1, 16, "character U+0007 is not allowed in YAML"),
        ("intents: {a: *b}\n", 1, 14, "this is not YAML: found undefined alias"),
    ],
)
def test_faults_of_a_file(text, line, column, says):
    if text == "intents: {a: [go (left) now]}":
        assert compile_phrases(parse_phrases(text), LETTERS).n_nodes > 1  # round brackets need no quotes
        return
    (fault,) = _faults(text)
    assert fault[:2] == (line, column)
    assert fault[2].startswith(says)


def test_a_phrase_with_brackets_and_without_quotes_is_explained():
    ((line, column, says),) = _faults("intents:\n  light:\n    - [please] turn it on\n")
    assert (line, column) == (3, 16)
    assert "needs quotes around it" in says


def test_all_faults_of_a_file_come_at_once_in_order():
    text = """\
intents:
  a:
    - "go (left"
    - 'it''s {nothing} here'
    - >
      folded text
      with a light[s] and
      more
    - |
      kept
      {bad name}
    - "esc\\u00e9 \\" [] x"
  a: again
colour: red
slots: {n: 5..1}
"""
    assert [fault[:2] for fault in _faults(text)] == [
        (3, 11), (4, 14), (7, 19), (11, 7), (12, 21), (13, 3), (14, 1), (15, 12),
    ]  # fmt: skip


def test_many_faults_are_counted():
    phrases = "".join(f"    - 'go {{x{i}}}'\n" for i in range(30))
    with pytest.raises(PhraseError, match=r"30 faults in p.yaml(.|\n)*and 10 more") as caught:
        parse_phrases(f"intents:\n  a:\n{phrases}", "p.yaml")
    assert str(caught.value).count("\n") == MAX_FAULTS + 1


def test_recursion_through_several_rules_and_slots_is_named_once():
    faults = _faults("intents: {i: '{a}'}\nrules:\n  a: '{b} x'\n  b: '(y | {s})'\nslots:\n  s: ['z {a}', w]\n")
    assert [fault[:2] for fault in faults] == [(6, 10)]
    assert "{a} uses itself (a -> b -> s -> a)" in faults[0][2]


def test_words_that_tokens_cannot_spell_are_found_in_number_ranges_too():
    digits = TokenTable.of_characters(["zero one two three four five six seven eight nine"])
    faults = _faults("intents: {t: 'in {m:1..12}'}\n", digits)
    assert {fault[:2] for fault in faults} == {(1, 18)}
    assert [fault[2].split()[0] for fault in faults] == ["'eleven'", "'twelve'"]


def test_too_many_states_are_refused():
    parts = " ".join(f"[w{'abcdefgh'[i]}]" for i in range(8))
    text = f"intents: {{t: 'x {parts}'}}\nrules: {{r: a}}\n"
    with pytest.raises(PhraseError, match="need more than 20 states"):
        compile_phrases(parse_phrases(text), LETTERS, max_states=20)
    deep = "".join(f"  r{i}: 'a{'b' * (i % 3)} {{r{i + 1}}} {{r{i + 1}}}'\n" for i in range(40))
    with pytest.raises(PhraseError, match=r"longest sentence has [\d,]+ words"):
        compile_phrases(parse_phrases(f"intents: {{t: '{{r0}}'}}\nrules:\n{deep}  r40: c\n"), LETTERS, max_states=5000)
    chain = "".join(f"  r{i}: 'a {{r{i + 1}}}'\n" for i in range(2000))
    with pytest.raises(PhraseError, match="hundred deep"):
        compile_phrases(parse_phrases(f"intents: {{t: '{{r0}}'}}\nrules:\n{chain}  r2000: c\n"), LETTERS)


def test_words_stay_what_was_written():
    phrases = parse_phrases("intents: {a: ['{s}', on, no]}\nslots: {s: [on, No, 8 oz, {say: x, mean: 8}, {say: y, mean: '8'}]}")
    assert [value.mean for value in phrases.slots["s"].values] == [None, "No", None, 8, "8"]
    assert [phrase.node.text for phrase in phrases.intents["a"][1:]] == ["on", "no"]
    json = parse_phrases('{"intents": {"a": ["go [left]"]}, "slots": {"b": [{"say": "x", "mean": true}]}}')
    assert json.slots["b"].values[0].mean is True


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"intents:\n  a: caf\xe9\n")
    with pytest.raises(PhraseError, match=r"a.yaml:2:9: byte 0xe9 is not UTF-8"):
        read_phrases(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbfintents: {a: b}\n")
    assert list(read_phrases(tmp_path / "b.yaml").intents) == ["a"]
    (tmp_path / "c.yaml").write_bytes(b" " * 10_000_001)
    with pytest.raises(PhraseError, match="larger than 10,000,000 bytes"):
        read_phrases(tmp_path / "c.yaml")
    with pytest.raises(OSError, match="No such file"):
        read_phrases(tmp_path / "d.yaml")
