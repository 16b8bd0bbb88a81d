"""Other notations to phrase files."""

import json
import os
from pathlib import Path

import pytest

from edgeseq.errors import MissingExtraError
from edgeseq.phrases.checking import count_sentences, text_of
from edgeseq.phrases.compiling import compile_phrases, to_words
from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.importers import checked_name, escaped, home_assistant, jsgf, rhino, write
from edgeseq.tokens.table import TokenTable

LETTERS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz'8°"])


def _said(reader, text):
    """Write out all that an imported grammar allows: text -> (intent, slots)."""
    draft = reader(text, "source")
    graph = compile_phrases(parse_phrases(write(draft)), LETTERS)
    said, pending = {}, [(0, [])]
    while pending:
        node, arcs = pending.pop()
        if graph.end_weight[node] > -float("inf"):
            reading = graph.read(arcs)
            said[text_of(reading)] = (reading.intent, reading.slots)
        pending += [(int(graph.target[arc]), [*arcs, arc]) for arc in range(graph.first_arc[node], graph.first_arc[node + 1])]
    return said


def _faults(reader, text):
    with pytest.raises(PhraseError) as caught:
        reader(text, "source")
    return [(fault.place.line, fault.place.column, fault.message) for fault in caught.value.faults]


RHINO = """\
context:
  expressions:
    warm:
      - "[heat, warm up] (the) $room:where to $pv.TwoDigitInteger:degrees"
      - "@polite stop it, now"
  slots:
    room: [kitchen, "living room"]
  macros:
    polite: [please, would you]
"""


def test_rhino():
    said = _said(rhino.read, RHINO)
    assert said["warm up the living room to twenty one"] == ("warm", {"where": "living room", "degrees": 21})
    assert said["heat kitchen to zero"] == ("warm", {"where": "kitchen", "degrees": 0})
    assert said["would you stop it now"] == ("warm", {})
    assert len(said) == 2 * 2 * 2 * 100 + 2


@pytest.mark.parametrize(
    ("sentence", "column", "says"),
    [
        ("[a, b c", 10, "this bracket is never closed; wanted ']'"),
        ("a (b", 12, "this bracket is never closed; wanted ')'"),
        ("a] b", 11, "']' closes nothing"),
        ("[a, ] b", 10, "a choice has an empty option"),
        ("a $ b", 12, "'$' stands alone"),
        ("", 10, "the sentence is empty"),
    ],
)
def test_faults_of_rhino(sentence, column, says):
    ((line, at, message),) = _faults(rhino.read, f'context:\n  expressions:\n    x:\n      - "{sentence}"\n')
    assert (line, at) == (4, column) and message.startswith(says)


def test_files_that_are_no_context_of_rhino():
    assert "no `context:`" in _faults(rhino.read, "intents: {}\n")[0][2]
    assert "no `expressions:`" in _faults(rhino.read, "context: {slots: {}}\n")[0][2]
    assert _faults(rhino.read, "context:\n  expressions: [x]\n")[0][:2] == (2, 16)
    assert _faults(rhino.read, "a: [")[0][0] >= 1


JSGF = """\
#JSGF V1.0 UTF-8 en;
grammar lights;
/* what may
   be said */
public <switch> = [<polite>] turn (on | off {tag}) <what> ; // a comment
<polite> = /3/ please | /1/ "would you" | <NULL>;
<what> = the (lamp | radio) | <VOID> | everything;
public <stop> = stop <what>;
"""


def test_jsgf():
    said = _said(jsgf.read, JSGF)
    assert said["please turn off the radio"] == ("switch", {})
    assert said["would you turn on everything"][0] == "switch"
    assert said["stop the lamp"] == ("stop", {})
    assert len(said) == 3 * 2 * 3 + 3
    draft = jsgf.read(JSGF, "source")
    assert draft.notes == ("1 tags were left out, the first at 5:45",)
    assert "/3/ please | /1/ would you" in draft.rules["polite"]


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("public <a> = b*;", 1, 15, "'*' repeats without end"),
        ("public <a> = (b)+;", 1, 17, "'+' repeats without end"),
        ("public <a> = (b;", 1, 14, "'(' is never closed; wanted ')'"),
        ("public <a> = b", 1, 14, "'b' stands where ';' was wanted"),
        ("public <a> = b | ;", 1, 16, "nothing follows '|'"),
        ("public <a> = ;", 1, 8, "nothing follows '<a>'"),
        ("public <a> = b;\n<a> = c;", 2, 1, "the rule <a> is there already"),
        ("public <a> = <b>;", 1, 14, "no rule is called <b>; wanted one of: a"),
        ("<a> = b;", 1, 1, "there is no public rule"),
        ("import <x.y>;\npublic <a> = b;", 1, 1, "imports are not followed"),
        ("hello = b;\npublic <a> = b;", 1, 1, "'hello' begins no rule"),
        ("public <a> = b } c;", 1, 16, "'}' does not belong here"),
        ("#JSGF V1.0;\n// nothing\n", 1, 1, "there is no public rule"),
    ],
)
def test_faults_of_jsgf(text, line, column, says):
    faults = _faults(jsgf.read, text)
    assert faults[0][:2] == (line, column) and faults[0][2].startswith(says)


def test_jsgf_rules_that_use_themselves_are_refused_in_what_was_written():
    draft = jsgf.read("public <a> = b [<a>];", "source")
    with pytest.raises(PhraseError, match="uses itself"):
        write(draft)


HASSIL = """\
language: en
intents:
  TurnOn:
    data:
      - sentences:
          - "turn on [the] {area} light[s]"
          - "(switch|turn) on <the> {name}"
          - "<the> {color}[ed] lamp (now;please)"
        slots: {domain: light, many: [a, b]}
      - sentences: ["brightness [to] {level}[%| percent]", "dim {0..20,10:amount} in {room}"]
        lists: {room: {values: [attic]}}
  Ask:
    data:
      - sentences: ["say {anything}", "what time [is it]"]
lists:
  area:
    values:
      - Kitchen
      - {in: "(living|sitting) room", out: lounge}
  color: {values: [red]}
  level: {range: {from: 0, to: 100, step: 10}}
  anything: {wildcard: true}
expansion_rules:
  the: "[the|my]"
skip_words: [please]
"""


def test_home_assistant():
    pytest.importorskip("hassil")
    draft = home_assistant.read(HASSIL, "source")
    notes = "\n".join(draft.notes)
    for left_out in ("skip_words", "{name}, which the file does not hold", "{anything}, a wildcard", "touches a word"):
        assert left_out in notes
    said = _said(home_assistant.read, HASSIL.replace("{level}[%| percent]", "{level} [percent]"))
    assert said["turn on the sitting room lights"] == ("TurnOn", {"area": "lounge", "domain": "light"})
    assert said["turn on kitchen light"] == ("TurnOn", {"area": "Kitchen", "domain": "light"})
    assert said["brightness to fifty percent"] == ("TurnOn", {"level": 50})
    assert said["dim twenty in attic"] == ("TurnOn", {"amount": 20, "room": "attic"})
    assert said["what time"] == ("Ask", {}) and said["what time is it"] == ("Ask", {})
    assert len(said) == 2 * 3 * 2 + 2 * 11 * 2 + 3 + 2
    assert write(draft).startswith("# left out")


def test_home_assistant_says_the_same_as_hassil():
    """Every imported sentence is recognized by hassil itself, with the same intent and slots."""
    pytest.importorskip("hassil")
    import yaml
    from hassil.intents import Intents
    from hassil.recognize import recognize

    impossible = '          - "<the> {color}[ed] lamp (now;please)"\n'
    source = HASSIL.replace(impossible, impossible.replace("[ed]", "").replace("please", "fast"))
    source = source.replace("{level}[%| percent]", "{level} [percent]").replace("skip_words: [please]\n", "")
    intents = Intents.from_dict(yaml.safe_load(source))
    said = _said(home_assistant.read, source)
    assert "my red lamp fast now" in said
    for text, (intent, slots) in said.items():
        result = recognize(text, intents)
        assert result is not None, text
        assert result.intent.name == intent
        found = {name: entity.value for name, entity in result.entities.items() if name != "many"}
        assert found == slots, text


def test_files_that_are_no_templates_of_home_assistant():
    pytest.importorskip("hassil")
    for text in ("intents: {}\n", "language: en\nintents: {A: 3}\n", "- a\n"):
        ((line, column, message),) = _faults(home_assistant.read, text)
        assert (line, column) == (1, 1) and "wanted `language:`" in message
    assert _faults(home_assistant.read, "a: [\n")[0][0] >= 1
    faults = _faults(home_assistant.read, "language: en\nintents: {A: {data: [{sentences: ['(a', b, '[c']}]}}\n")
    assert [fault[:2] for fault in faults] == [(2, 35), (2, 44)] and "cannot parse this template" in faults[0][2]


def test_without_hassil_its_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "hassil.errors", None)
    with pytest.raises(MissingExtraError, match=r"edgeseq\[phrases\]"):
        home_assistant.read(HASSIL, "source")


def test_names_and_words_that_would_be_taken_for_notation():
    assert checked_name("a b") == "a_b" and checked_name("1x") == "_1x" and checked_name("a", ["a", "a_2"]) == "a_3"
    assert parse_phrases(json.dumps({"intents": {"x": escaped("(a|b)")}})).intents["x"][0].node.text == "(a|b)"
    assert parse_phrases(json.dumps({"intents": {"x": f"{escaped('/3/')} a"}})).intents["x"][0].node.items[0].text == "/3/"


def test_the_coffee_grammar():
    source = Path(os.environ.get("EDGESEQ_DATA", "data")) / "commands" / "coffee_maker.source.yaml"
    if not source.is_file():
        pytest.skip("no data")
    phrases = parse_phrases(write(rhino.read(source.read_text(), "source")))
    assert count_sentences(to_words(phrases)).n > 100_000_000
    assert compile_phrases(phrases, LETTERS).n_nodes < 5_000
