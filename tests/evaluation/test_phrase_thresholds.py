"""Thresholds are chosen by what they let through."""

import math
from pathlib import Path

import pytest

from edgeseq.data.manifest import Recording
from edgeseq.evaluation.phrase_thresholds import PhraseResult, choose_threshold
from edgeseq.events import Final


def _heard(score, text="yes", said="yes", **extra):
    final = Final(text, 0.0, 1.0, 1.0, (), "answer", {"word": text}, score)
    return PhraseResult(Recording(Path("a.wav"), 1.0, said, extra=extra), () if score is None else (final,))


SAID = [_heard(score) for score in (-0.05, -0.1, -0.2, -0.4, -0.9)] + [_heard(-0.01, text="no")]
OTHER = [_heard(score, said="") for score in (-0.3, -0.5, -0.8, -1.5)] + [_heard(None, said="")] * 6


def test_the_lowest_threshold_that_lets_no_more_through_than_allowed():
    none, some, more = (choose_threshold(SAID, OTHER, accept).suggested for accept in (0.0, 0.1, 0.25))
    assert (none.accepted, none.right) == (0, 3) and -0.3 < none.threshold < -0.298
    assert (some.accepted, some.right) == (1, 4) and -0.5 < some.threshold < -0.498
    assert (more.accepted, more.right) == (2, 4)
    everything = choose_threshold(SAID, OTHER, 1.0)
    assert (everything.suggested.accepted, everything.suggested.right, everything.at_best) == (4, 5, 5)


def test_a_score_at_zero_cannot_be_refused():
    result = choose_threshold(SAID, [_heard(0.0, said="")], 0.0)
    assert (result.suggested.threshold, result.suggested.accepted, result.is_reached) == (0.0, 1, False)
    assert "No threshold accepts as little as 0 %" in result.to_lines()[-1]
    assert choose_threshold(SAID, OTHER, 0.0).is_reached


def test_rows_are_shown_the_strictest_first_each_once():
    result = choose_threshold(SAID, OTHER, 0.1)
    thresholds = [row.threshold for row in result.rows]
    assert thresholds == sorted(set(thresholds), reverse=True)
    lines = result.to_lines()
    assert "6 recordings of phrases, 83.3 % right when nothing is rejected" in lines[0]
    assert lines[-1].startswith("suggested: -0.499 (66.7 % right; accepts 10.0 % of other speech, 95 % interval 1.8 to 40.4 %)")
    figures = result.to_dict()
    assert figures["measured"] == {"phrase_threshold": result.suggested.threshold}
    assert figures["rows"][0] == {"threshold": thresholds[0], "right": 3, "accepted": 0}


def test_intent_and_slots_count_where_the_manifest_has_them():
    right = _heard(-0.2, said="", intent="answer", slots={"word": "yes"})
    wrong = _heard(-0.2, said="", intent="answer", slots={"word": "no"})
    assert right.is_right(-0.3) and not right.is_right(-0.1) and not wrong.is_right(-0.3)
    assert _heard(None, said="").best == -math.inf
    assert _heard(None, said="").is_right(-1.0), "nothing was said and nothing is given out"


@pytest.mark.parametrize("n", [1, 7, 200])
def test_no_more_than_the_share_is_accepted(n):
    other = [_heard(-((i * 37) % n) / n - 0.001, said="") for i in range(n)]
    for accept in (0.0, 0.03, 0.05, 0.5, 0.99):
        assert choose_threshold(SAID, other, accept).suggested.accepted <= accept * n
