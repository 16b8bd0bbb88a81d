"""Scores to detections: thresholds, hysteresis, shortest and refractory times, in any pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.errors import UsageError
from edgeseq.events import Detection
from edgeseq.model.frames import FramesDetails
from edgeseq.stream.detector import Detector
from edgeseq.stream.serialization import pack, unpack

NOTHING = np.zeros(0, np.float32)
ROW = 0.1


def detector(labels=("a",), threshold=0.6, release=0.3, **changes):
    own = {"labels": list(labels), "activation": "sigmoid", "row_seconds": ROW, "threshold": threshold, "release": release}
    return Detector(FramesDetails.from_dict(own | changes))


def heard(one, rows, sizes=(1000,), flush=True):
    """Events of rows cut to `sizes` in turn, with the row at which each was told."""
    rows = np.asarray(rows, np.float32).reshape(-1, len(one.details.labels))
    state, events, first, turn = one.init_state(), [], 0, 0
    while first < len(rows):
        size = sizes[turn % len(sizes)]
        new, state = one.step(NOTHING, rows[first : first + size], state)
        events += new
        first, turn = first + size, turn + 1
    if flush:
        events += one.flush(state)[0]
    return [(event.label, event.start, event.end, round(event.score, 6)) for event in events]


def at(row):
    return row * ROW


def test_a_label_is_told_when_it_begins_and_when_it_ends():
    assert heard(detector(), [0, 0.7, 0.9, 0.2, 0]) == [("a", at(1), None, 0.7), ("a", at(1), at(3), 0.9)]


def test_between_release_and_threshold_nothing_changes():
    assert heard(detector(), [0.5, 0.59, 0.6, 0.4, 0.3, 0.29, 0.5, 0.1]) == [("a", at(2), None, 0.6), ("a", at(2), at(5), 0.6)]


def test_what_lasts_ends_with_the_stream():
    assert heard(detector(), [0, 0.8, 0.8]) == [("a", at(1), None, 0.8), ("a", at(1), at(3), 0.8)]
    assert heard(detector(), [0, 0.8], flush=False) == [("a", at(1), None, 0.8)]


def test_what_is_too_short_is_not_told():
    patient = detector(min_seconds=0.2)
    assert heard(patient, [0.9, 0, 0.7, 0.95, 0.8, 0]) == [("a", at(2), None, 0.95), ("a", at(2), at(5), 0.95)]
    assert heard(patient, [0, 0.9]) == []
    assert heard(detector(min_seconds=0.3, row_seconds=0.1), [0.9] * 3)[0][:3] == ("a", 0.0, None)  # 3 * 0.1 > 0.3


def test_behind_an_end_nothing_begins_for_the_refractory_time():
    shy = detector(refractory_seconds=0.3)
    events = heard(shy, [0.9, 0, 0.9, 0.9, 0.8, 0.8, 0])
    assert events == [("a", 0.0, None, 0.9), ("a", 0.0, at(1), 0.9), ("a", at(4), None, 0.8), ("a", at(4), at(6), 0.8)]
    assert len(heard(detector(refractory_seconds=0.3, min_seconds=0.2), [0.9, 0, 0.9, 0.9, 0])) == 2, (
        "what was not told blocks nothing"
    )


def test_labels_do_not_touch_each_other_and_some_are_not_reported():
    rows = [[0.9, 0.1, 0.9], [0.9, 0.7, 0.9], [0.1, 0.7, 0.9]]
    assert heard(detector(("a", "b", "none"), threshold={"a": 0.8, "b": 0.6}), rows) == [
        ("a", 0.0, None, 0.9),
        ("b", at(1), None, 0.7),
        ("a", 0.0, at(2), 0.9),
        ("b", at(1), at(3), 0.7),
    ]


def test_no_number_is_no_score():
    assert heard(detector(), [np.nan, 0.9, np.nan]) == [("a", at(1), None, 0.9), ("a", at(1), at(2), 0.9)]


def test_thresholds_are_compared_as_scores_are():
    """0.7 as float32 is below 0.7 as float64."""
    assert heard(detector(threshold=0.7, release=0.7), [0.7, 0.7, 0.69])[-1][1:3] == (0.0, at(2))


scores = st.lists(st.lists(st.sampled_from([0.0, 0.2, 0.3, 0.45, 0.6, 0.61, 0.9]), min_size=2, max_size=2), max_size=60)


@given(
    rows=scores,
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    refractory=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
    shortest=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_cut_anywhere_and_saved_in_between_it_is_the_same(rows, sizes, refractory, shortest):
    one = detector(("a", "b"), refractory_seconds=refractory, min_seconds=shortest)
    whole = heard(one, rows)
    assert heard(one, rows, sizes) == whole
    state, events = one.init_state(), []
    for row in np.asarray(rows, np.float32).reshape(-1, 1, 2):
        new, state = one.step(NOTHING, row, unpack(pack(state), [type(state)]))
        events += new
    events += one.flush(state)[0]
    assert [(e.label, e.start, e.end, round(e.score, 6)) for e in events] == whole
    _check_rules(whole, np.asarray(rows, np.float32).reshape(-1, 2), refractory, shortest)


def _check_rules(events, rows, refractory, shortest):
    """Every beginning has its end; each lasts long enough, and starts late enough after the one before."""
    for column, label in enumerate(("a", "b")):
        own = [event for event in events if event[0] == label]
        begins, ends = [e for e in own if e[2] is None], [e for e in own if e[2] is not None]
        assert [e[1] for e in begins] == [e[1] for e in ends]
        for (_, start, end, peak), following in zip(ends, [*ends[1:], None][: len(ends)], strict=True):
            first, last = round(start / ROW), round(end / ROW)
            assert end - start >= shortest - 1e-6 and rows[first, column] >= np.float32(0.6)
            assert (rows[first:last, column] >= np.float32(0.3)).all() and peak == pytest.approx(rows[first:last, column].max())
            assert last == len(rows) or rows[last, column] < np.float32(0.3)
            if following is not None:
                assert following[1] - end >= refractory - 1e-6


def test_its_identity_is_all_that_states_depend_on():
    assert detector().identity == detector().identity
    assert len({detector(**c).identity for c in ({}, {"threshold": 0.5}, {"labels": ("b",)}, {"refractory_seconds": 1.0})}) == 4


def test_a_state_of_other_labels_is_refused():
    _, state = detector().step(NOTHING, np.array([[0.9]], np.float32), detector().init_state())
    with pytest.raises(UsageError, match=r"knows of a; this detector's labels are b\.\n"):
        detector(("b",)).check(state)


def test_the_form_of_lines():
    begun, ended = Detection("low", 0.32149, None, 0.98765), Detection("low", 0.32149, 1.5, 0.98765)
    assert begun.to_dict("a.wav") == {
        "type": "detection", "file": "a.wav", "label": "low", "start": 0.321, "end": None, "score": 0.988,
    }  # fmt: skip
    assert ended.to_dict()["end"] == 1.5 and "file" not in ended.to_dict()
    assert ended.placed(2.0, 1.0) == Detection("low", 2.32149, 3.0, 0.98765) and begun.placed(0.0, 0.1).end is None
