import doctest

import edgeseq.evaluation.partials as partials
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.evaluate import partials_report
from edgeseq.evaluation.partials import PartialStats, count_shown
from edgeseq.events import Final, Partial, Word


def said(kind, text, **more):
    words = tuple(Word(word, 0, 0, 1) for word in text.split())
    return kind(text, 0, 0, 1, words, **more)


def test_doctests():
    assert doctest.testmod(partials).failed == 0


def test_words_that_vanish_are_taken_back():
    events = [said(Partial, "a b"), said(Partial, "a"), said(Partial, "a c"), said(Final, "d c")]
    assert count_shown(events) == PartialStats(words=3, grown=0, taken_back=2)
    assert count_shown([said(Partial, "a"), said(Final, "")]).taken_back == 1


def test_utterances_are_apart():
    events = [said(Partial, "a"), said(Final, "a"), said(Partial, "b"), said(Final, "b")]
    assert count_shown(events) == PartialStats(words=2)


def test_stable_words_alone_are_shown_in_stable_mode():
    events = [
        said(Partial, "a b", stable=0),
        said(Partial, "c b", stable=1),
        said(Partial, "c d", stable=1),
        said(Partial, "e f", stable=2),
        said(Final, "e f"),
    ]
    assert count_shown(events, stable=True) == PartialStats(words=3, taken_back=1)


def test_what_never_became_final_was_not_taken_back():
    assert count_shown([said(Partial, "a")]) == PartialStats(words=1)


def test_clips_are_added_up():
    heard = ClipResult("a", "a", 0, 1, (), 1.0, 0.1, (), (said(Partial, "b", stable=1), said(Final, "a")))
    normal, stable = partials_report([heard, heard])
    assert normal == stable == PartialStats(words=2, taken_back=2) and normal.rate == 1.0


def test_greedy_words_grow_and_are_never_taken_back(tone_recognizer):
    import numpy as np
    import tone_language as tones

    speech = np.concatenate([tones.say("abba goes on"), tones.silence(1), tones.say("yes no")])
    events = list(tone_recognizer.follow([speech]))
    shown, stable = count_shown(events), count_shown(events, stable=True)
    assert shown.taken_back == stable.taken_back == stable.grown == 0
    assert shown.words > shown.grown > 0 and stable.words == 3, "the last word of each utterance is told by its final"
