"""Intents and slots against those of a manifest."""

import doctest
from pathlib import Path

import pytest

import edgeseq.evaluation.intervals as intervals
from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError
from edgeseq.evaluation.intervals import wilson_interval
from edgeseq.evaluation.understanding import Meaning, compare_meanings, meaning_of, understood
from edgeseq.events import Final, Partial

ON = Meaning("switch", {"state": "on", "room": "hall"})


def _recording(**extra):
    return Recording(Path("a.wav"), 1.0, "", extra=extra)


def _final(intent, slots=None, kind=Final):
    return kind("x", 0.0, 1.0, 1.0, (), intent, slots or {})


@pytest.mark.parametrize(
    ("slots", "same"),
    [
        ({"state": "On", "room": "hall"}, True),
        ({"state": "on"}, False),
        ({"state": "off", "room": "hall"}, False),
        ({"state": "on", "room": "hall", "level": 5}, False),
    ],
)
def test_all_slots_and_none_more(slots, same):
    assert ON.is_like(Meaning("switch", slots)) == same
    assert not ON.is_like(Meaning("dim", slots)) and not ON.is_like(None)


def test_numbers_are_compared_as_numbers():
    assert Meaning("dim", {"level": 5}).is_like(Meaning("dim", {"level": 5.0}))
    assert Meaning("dim", {"level": "5"}).is_like(Meaning("dim", {"level": 5}))
    assert not Meaning("dim", {"level": 1}).is_like(Meaning("dim", {"level": True}))


def test_a_manifest_says_what_is_meant():
    assert meaning_of(_recording(speaker="a")) is None
    assert meaning_of(_recording(intent="stop")) == Meaning("stop")
    assert meaning_of(_recording(intent="dim", slots={"level": 5})).slots == {"level": 5}
    for wrong in ({"intent": 3}, {"slots": {}}, {"intent": "a", "slots": ["b"]}):
        with pytest.raises(ManifestError, match="wanted the name of an intent"):
            meaning_of(_recording(**wrong))


def test_one_phrase_is_understood_and_several_are_none():
    assert understood([_final("switch", kind=Partial), _final("switch", ON.slots)]).is_like(ON)
    assert understood([_final("switch", kind=Partial), _final(None)]) is None
    assert understood([_final("switch", ON.slots), _final("dim")]) == Meaning("switch + dim")


def test_what_was_understood_is_counted():
    off = Meaning("switch", {"state": "off", "level": 3})
    report = compare_meanings([(ON, ON), (ON, off), (ON, Meaning("dim")), (ON, None)])
    assert (report.clips, report.intents, report.right, report.rejected) == (4, 2, 1, 1)
    assert set(report.confusions) == {
        ("state", "on", "off", 1),
        ("room", "hall", "", 1),
        ("level", "", "3", 1),
        ("intent", "switch", "dim", 1),
        ("intent", "switch", "", 1),
    }
    assert report.to_dict()["share"] == 0.25 and report.ci95 == wilson_interval(1, 4)
    assert "slots, too    25.00 %  (1 of 4;" in report.to_lines()[1]
    assert compare_meanings([]) is None


def test_wilson():
    assert doctest.testmod(intervals).failed == 0
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20
    for n, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson_interval(n, of) == pytest.approx((low, high), abs=1e-4)
