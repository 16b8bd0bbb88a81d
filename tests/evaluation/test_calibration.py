import doctest
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeseq.evaluation.calibration as calibration
from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.evaluation.calibration import Bin, ConfidenceMap, draw, expected_calibration_error, fit_map, reliability


def test_doctests():
    assert doctest.testmod(calibration).failed == 0


def test_the_error_by_hand():
    # 4 words at 0.9 of which 3 are right: 0.15 off. 6 words at 0.3 of which 3 are right: 0.2 off.
    bins = reliability([0.9] * 4 + [0.3] * 6, [True, True, True, False] + [True, False] * 3)
    assert bins == [Bin(6, pytest.approx(0.3), 0.5), Bin(4, pytest.approx(0.9), 0.75)]
    assert expected_calibration_error(bins) == pytest.approx(0.4 * 0.15 + 0.6 * 0.2)
    assert expected_calibration_error([]) == 0.0


def test_borders_of_bins():
    bins = reliability([0.0, 0.1, 0.999, 1.0], [True] * 4)
    assert [one.n_words for one in bins] == [1, 1, 2]


def test_a_map_by_hand():
    # Two words a knot, each share (right + 1) / (2 + 2): 0.25, 0.75, 0.5, 0.75; the middle two are out of order and pool.
    said = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    right = [False, False, True, True, True, False, True, True]
    fitted = fit_map(said, right, words_per_knot=2)
    assert fitted.said == pytest.approx((0.15, 0.45, 0.75))
    assert fitted.right == pytest.approx((0.25, 0.625, 0.75))
    assert fitted(0.0) == fitted(0.15) == pytest.approx(0.25) and fitted(1.0) == pytest.approx(0.75)
    assert fitted(0.3) == pytest.approx((0.25 + 0.625) / 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300))
def test_maps_never_turn_an_order_around(words):
    fitted = fit_map(*zip(*words, strict=True), words_per_knot=5)
    values = [fitted(x) for x in np.linspace(0, 1, 101)]
    assert all(a <= b + 1e-12 for a, b in pairwise(values)) and values[0] > 0 and values[-1] < 1
    assert ConfidenceMap.from_dict(ConfidenceMap((0.5,), (0.5,)).to_dict())(0.1) == 0.5


def test_a_map_makes_boasters_honest():
    random = np.random.default_rng(0)
    truth = random.random(4000)
    said, right = np.sqrt(truth), random.random(4000) < truth
    before = expected_calibration_error(reliability(said, right))
    fitted = fit_map(said[:2000].tolist(), right[:2000].tolist())
    after = expected_calibration_error(reliability([fitted(x) for x in said[2000:]], right[2000:]))
    assert before > 0.12 and after < 0.05


@pytest.mark.parametrize(
    "plain",
    [
        None,
        {},
        {"said": [0.1], "right": []},
        {"said": [0.2, 0.1], "right": [0, 1]},
        {"said": [0, 1], "right": [1, 0]},
        {"said": [0, 2], "right": [0, 1]},
        {"said": ["a"], "right": [1]},
    ],
)
def test_what_is_no_map(plain):
    with pytest.raises(ValueError, match="wanted"):
        ConfidenceMap.from_dict(plain)


def test_no_words():
    with pytest.raises(ValueError, match="no words"):
        fit_map([], [])


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    draw([Bin(3, 0.5, 0.4), Bin(100, 0.95, 0.9)], "tones", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"\.png"):
        draw([], "tones", tmp_path / "a.what")


def test_no_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        draw([], "tones", tmp_path / "a.png")
