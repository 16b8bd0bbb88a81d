"""Training speed: the arithmetic on made-up turns, and one real pair of turns, small."""

import doctest
import subprocess
import sys

import pytest

pytest.importorskip("torch")

from benchmarks import training, training_turn
from benchmarks.training import PLAIN, bench_recipe, make_row, measure, to_table, with_steps
from benchmarks.training_turn import Turn
from edgeseq.errors import EdgeseqError
from edgeseq.training.recipe_file import parse_recipe


def test_doctests():
    assert doctest.testmod(training_turn).failed == 0


def test_what_is_wrong_is_told_in_words():
    program = [sys.executable, "-m", "benchmarks.training", "--shape", "gru:0x4"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "edgeseq: --shape gru:0x4: wanted 1 to 64 layers of 1 to 8192.\n")


def test_speeds_are_compared_by_sound_within_a_round():
    """The second round is slow for both: paired, the ratio stays."""
    plain = [Turn(10, 1.0, 2.0, 0.0, 100.0), Turn(10, 4.0, 2.0, 0.0, 100.0)]
    trained = [Turn(20, 4.0, 5.0, 0.4, 200.0), Turn(20, 16.0, 5.0, 1.6, 200.0)]
    row = make_row("trainer", trained, plain)
    assert row.ratio.median == pytest.approx(0.5)
    assert row.cpu_ratio == pytest.approx(0.8)
    assert row.waiting == pytest.approx(0.1)
    assert row.cpu_ms == pytest.approx(250)
    assert "0.50" in to_table([make_row(PLAIN, plain, plain), row]).splitlines()[-1]


def test_sound_that_is_reused_is_measured_over_whole_rounds(tmp_path):
    values = bench_recipe(None, "gru:1x8", None, tmp_path)
    reused = parse_recipe(with_steps(values, 10, 2), "test")
    assert reused.augment.uses == 2
    assert reused.train.steps - training.WARM_UP_STEPS == 128
    assert training.WARM_UP_STEPS == training_turn.WARM_UP_STEPS
    assert parse_recipe(with_steps(values, 10, 1), "test").train.steps == 10 + training.WARM_UP_STEPS


def test_trainer_and_plain_loop_are_measured(tmp_path):
    values = bench_recipe(None, "gru:1x8", None, tmp_path)
    values["train"]["batch_size"] = 2
    values["frontend"] = {"n_mels": 8}
    plain, trained = measure(values, [1], cores=[0], workers=0, steps=3, rounds=1)
    assert plain.name == PLAIN and plain.ratio.median == pytest.approx(1)
    assert 0 < trained.ratio.median < 20
    assert trained.waiting > 0  # batches are made between the steps


def test_a_turn_that_fails_says_why(tmp_path):
    values = bench_recipe(None, "gru:1x8p4", None, tmp_path)
    with pytest.raises(EdgeseqError, match="projection_size"):
        training.take_turn("plain", with_steps(values, 2, 1), [0], 0)


def test_a_profile_sorts_operators_into_parts():
    parts = training_turn.shares({"aten::addmm": 2.0, "void cudnn::rnn_gemm": 1.0, "aten::mul": 0.5}, 4.0)
    assert (parts["recurrent"], parts["products"], parts["other"]) == (0.25, 0.5, 0.125)
