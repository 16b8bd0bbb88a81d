"""A client's own phrases: compiled within bounds, whatever they are."""

import asyncio

import pytest

pytest.importorskip("onnx")
import tone_language as tones

from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.serve.client_phrases import PhraseCompiler, joined_phrases
from edgeseq.serve.limits import BusyError, LimitError, Limits


def understand(recognizer, *texts, **limits):
    """Compile texts one after another; gives recognizers."""

    async def run():
        compiler = PhraseCompiler(Limits(**limits))
        return [await compiler.understand(recognizer, text) for text in texts]

    return asyncio.run(run())


def heard(recognizer, text):
    return recognizer.transcribe(tones.say(text))


def test_phrases_are_understood_and_remembered(tone_recognizer):
    text = "threshold: -0.4\nintents: {go: ['zoo {n:1..9}']}"
    first, again = understand(tone_recognizer, text, text)
    final = heard(first, "zoo seven")
    assert (final.text, final.intent, dict(final.slots)) == ("zoo seven", "go", {"n": 7})
    assert heard(first, "hello abba").text == ""
    assert first.decoder.threshold == -0.4
    assert again.decoder.graph is first.decoder.graph


def test_lists_may_be_said_one_after_another(tone_recognizer):
    async def run(phrases):
        return await PhraseCompiler(Limits()).understand_list(tone_recognizer, phrases)

    listed = asyncio.run(run(["yes", "no", "Hello  Zoo!", "[unk]", "123"]))
    assert heard(listed, "no no hello zoo yes no").text == "no no hello zoo yes no"
    assert heard(listed, "abba").text == ""


def test_a_list_may_hold_anything():
    notation = ["(a|b)", "{x}", "[y", "a\\b", "/2/", '"', "o'clock", "a: b"]
    phrases = parse_phrases(joined_phrases(notation, 100))
    assert len(phrases.rules["one"].node.options) == len(notation)


def test_faults_come_with_their_places(tone_recognizer):
    with pytest.raises(PhraseError) as refusal:
        understand(tone_recognizer, "intents:\n  go: ['zoo (', '{nobody}', '123']")
    assert {str(fault.place) for fault in refusal.value.faults} >= {"2:13"}


DEEP = "(" * 5000 + "a" + ")" * 5000
DOUBLING = "\n".join(f'  r{n}: "{{r{n + 1}}} (a | b) {{r{n + 1}}}"' for n in range(40))
MANY_WORDS = [
    "".join(chr(97 + (n // 26**place) % 26) for place in range(3)) + " " + "".join(chr(97 + n % 26) for _ in range(4))
    for n in range(5000)
]


@pytest.mark.parametrize(
    ("text", "limits", "said"),
    [
        ("intents: {a: [" + "b, " * 30_000 + "]}", {}, r"have 90,0\d\d bytes; this server takes 64,000"),
        ("intents: {a: ['{n:1..999999} {m:1..999999}']}", {"phrases_nodes": 50}, "states|faults?"),
        (f"intents: {{a: ['{DEEP}']}}", {}, "too deep|nested|deeply|brackets"),
        ("[" * 30_000, {}, "fault|nested|take more than 0.5 s"),
        (f"rules:\n{DOUBLING}\n  r40: a\nintents: {{go: ['{{r0}}']}}", {}, "too large|states|take more than 0.5 s"),
        (
            "intents: {a: [" + ", ".join(MANY_WORDS) + "]}",
            {"phrases_seconds": 0.01, "phrases_nodes": 10**6},
            "take more than 0.01 s",
        ),
    ],
    ids=["long", "wide", "deep phrase", "deep file", "doubling", "slow"],
)
def test_runaways_are_refused_and_hold_nobody_up(tone_recognizer, text, limits, said):
    async def run():
        compiler = PhraseCompiler(Limits(**{"phrases_seconds": 0.5, **limits}))
        task, turns = asyncio.ensure_future(compiler.understand(tone_recognizer, text)), 0
        while not task.done():
            await asyncio.sleep(0.005)
            turns += 1
        with pytest.raises((LimitError, PhraseError), match=said):
            await task
        return turns

    turns = asyncio.run(asyncio.wait_for(run(), 60))
    assert turns > 5 or "bytes" in said, "the event loop went on, but for what is refused unread"


def test_only_so_many_wait(tone_recognizer):
    async def run():
        compiler = PhraseCompiler(Limits())
        waiting = [compiler.understand(tone_recognizer, f"intents: {{a: [{'a' * n}]}}") for n in range(1, 13)]
        done = await asyncio.gather(*waiting, return_exceptions=True)
        return [type(one) for one in done]

    kinds = asyncio.run(run())
    assert kinds[:8] == [type(tone_recognizer)] * 8 and kinds[8:] == [BusyError] * 4
