import doctest
from datetime import timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeseq.output.subtitles as subtitles
from edgeseq.cli.display import Display, Format
from edgeseq.events import Final, Partial, Word
from edgeseq.output.subtitles import cues

srt = pytest.importorskip("srt")
webvtt = pytest.importorskip("webvtt")


def final(*words):
    """Make a final of (word, start, end)."""
    return Final(" ".join(w for w, _, _ in words), words[0][1], words[-1][2], 1.0, tuple(Word(*w, 1.0) for w in words))


def steadily(n_words, seconds=0.4, pause=0.1, first=0.0):
    return [(f"w{n}", first + n * (seconds + pause), first + n * (seconds + pause) + seconds) for n in range(n_words)]


def test_doctests():
    assert doctest.testmod(subtitles).failed == 0


def test_long_finals_are_cut():
    assert [len(cue.text.split()) for cue in cues(final(*steadily(16)))] == [7, 7, 2]
    assert [len(cue.text.split()) for cue in cues(final(*steadily(5, seconds=1.9)))] == [3, 2]
    apart = [*steadily(2), *steadily(2, first=3.0)]
    assert [(cue.start, cue.end) for cue in cues(final(*apart))] == [(0.0, 0.9), (3.0, 3.9)]
    assert cues(Final("", 0, 3, 0, ())) == []


def test_a_word_that_takes_no_time_can_be_read():
    assert [(c.start, c.end) for c in cues(final(("a", 1.0, 1.0)))] == [(1.0, 1.5)]
    crowded = cues(final(*((f"w{n}", 0.1 * n, 0.1 * n) for n in range(8))))
    assert crowded[0].end <= crowded[1].start


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda text: text.strip())


@given(st.lists(TEXTS, min_size=1, max_size=20))
def test_libraries_read_what_is_written(texts):
    said = final(*((text, 0.5 * n, 0.5 * n + 0.4) for n, text in enumerate(texts)))
    written = {}
    for form in (Format.srt, Format.vtt):
        out = StringIO()
        display = Display(form, out=out)
        display.show(Partial(*said.__dict__.values()))
        display.show(said)
        written[form] = out.getvalue()
    wanted = cues(said)
    read = list(srt.parse(written[Format.srt]))
    assert [one.index for one in read] == list(range(1, len(wanted) + 1))
    assert [(one.start, one.end) for one in read] == [(near(cue.start), near(cue.end)) for cue in wanted]
    captions = list(webvtt.from_string(written[Format.vtt]))
    assert [(one.start_in_seconds, one.end_in_seconds) for one in captions] == [(int(c.start), int(c.end)) for c in wanted]


def near(seconds):
    return timedelta(milliseconds=round(1000 * seconds))


@pytest.mark.parametrize("text", ["one two", "R&B <b>", "--> 3", "ça ▁"])
def test_texts_come_back(text):
    said = final(*((word, n, n + 0.5) for n, word in enumerate(text.split())))
    outs = {form: StringIO() for form in (Format.srt, Format.vtt)}
    for form, out in outs.items():
        Display(form, out=out).show(said)
    assert [one.content for one in srt.parse(outs[Format.srt].getvalue())] == [text]
    html = __import__("html")
    assert [html.unescape(one.raw_text) for one in webvtt.from_string(outs[Format.vtt].getvalue())] == [text]


def test_control_characters_do_not_reach_the_file():
    out = StringIO()
    Display(Format.srt, out=out).show(final(("a\x1b[2J\n\n9", 0, 1)))
    (cue,) = srt.parse(out.getvalue())
    assert "\x1b" not in cue.content
