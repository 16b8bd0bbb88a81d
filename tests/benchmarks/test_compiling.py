"""torch.compile beside the trainer as it is: the arithmetic on made-up times, and a real pair of trainings, small."""

import shutil
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.compiling import EAGER, WARM_UP_STEPS, StepTimes, measure, to_table
from benchmarks.training import bench_recipe, with_steps
from edgeseq.training.recipe_file import parse_recipe


def test_times_are_compared_step_by_step_after_those_that_compile():
    """The last step is slow for both: paired, the ratio stays."""
    eager = StepTimes([0.1] * WARM_UP_STEPS + [0.1, 0.1, 0.4], [0.2] * (WARM_UP_STEPS + 3), [5.0, 4.0])
    compiled = StepTimes([3.05] + [0.05] * (WARM_UP_STEPS - 1) + [0.05, 0.05, 0.2], [0.3] * (WARM_UP_STEPS + 3), [5.0, 4.5])
    line = to_table({EAGER: eager, "network": compiled}).splitlines()[-1].split()
    assert line == ["network", "50.0", "0.500", "0.500-0.500", "1.500", "2.4", "4.5000"]


HEADERS = Path(sysconfig.get_path("include")) / "Python.h"


@pytest.mark.skipif(shutil.which("g++") is None or not HEADERS.exists(), reason="torch.compile needs g++ and Python's headers")
def test_a_compiled_network_trains_as_an_uncompiled_one(tmp_path):
    values = bench_recipe(None, "gru:1x8", None, tmp_path)
    values["train"]["batch_size"] = 2
    values["frontend"] = {"n_mels": 8}
    taken = measure(parse_recipe(with_steps(values, 2, 1), "test"), [EAGER, "network"], 2)
    assert len(taken["network"].losses) == len(taken["network"].wall) == WARM_UP_STEPS + 2
    assert taken["network"].losses == pytest.approx(taken[EAGER].losses, rel=1e-4)
    assert taken["network"].losses[0] != taken["network"].losses[-1]
