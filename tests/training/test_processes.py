"""Several processes, really started by torchrun and by Fabric, joined over gloo: they train what one process trains."""

import doctest
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from edgeseq.training import processes
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint

RECIPE = {
    "name": "tones",
    "language": "zxx",
    "license": "CC0-1.0",
    "data_statement": "sine tones",
    "network": {"cell": "gru", "hidden_size": 16, "num_layers": 2, "dropout": 0.3},
    "joining": {"row_seconds": 1.0, "silence": 0.2},
    "train": {"steps": 8, "batch_size": 4, "easy_steps": 2, "ramp_steps": 2, "warmup_steps": 2, "checkpoint_every": 4},
}


def test_threads_are_those_that_leave_loaders_a_core():
    assert doctest.testmod(processes).failed == 0


def test_tests_compute_with_one_thread():
    """Training in a test takes as many threads as the variable says; see conftest.py."""
    assert os.environ["OMP_NUM_THREADS"] == "1" and torch.get_num_threads() == 1


@pytest.fixture
def folder(tmp_path, tone_corpus):
    data = {"train": [{"manifest": str(tone_corpus), "easy": True}], "valid": [str(tone_corpus)]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"data": data}))
    return tmp_path


def train(folder, out, *words, launcher=(), **variables):
    command = [sys.executable, *launcher, "-m", "edgeseq", "train", "recipe.yaml", "--out", out, "--workers", "0", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)


def losses(folder, out):
    lines = map(json.loads, (folder / out / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("kind", [{}, {"batch_seconds": 3.0}])
def test_two_processes_train_what_one_trains(folder, kind):
    """The losses differ by rounding alone, and so do weights and carried states; the two may be gone on from by one."""
    overrides = [f"train.{key}={value}" for key, value in kind.items()]
    one = train(folder, "one", *overrides)
    assert one.returncode == 0, one.stderr
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    two = train(folder, "two", "--accelerator", "cpu", *overrides, launcher=torchrun)
    assert two.returncode == 0, two.stderr
    assert losses(folder, "two") == pytest.approx(losses(folder, "one"), rel=1e-4)
    assert two.stderr.count("step 8/8") == 1  # one of them speaks
    single, shared = (load_checkpoint(latest_checkpoint(folder / run / "checkpoints")) for run in ("one", "two"))
    for name, weights in single.model.items():
        torch.testing.assert_close(shared.model[name], weights, atol=1e-4, rtol=1e-3)
    for name, theirs in single.carried.items():
        torch.testing.assert_close(shared.carried[name], theirs, atol=1e-3, rtol=1e-3)
    gone_on = train(folder, "two", "--resume", "train.steps=9", *overrides)
    assert gone_on.returncode == 0, gone_on.stderr
    assert len(losses(folder, "two")) == 9


def test_fabric_starts_processes_itself(folder):
    done = train(folder, "run", "--devices", "2", "--accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert len(losses(folder, "run")) == 8


def test_streams_that_cannot_be_shared_out_evenly_are_refused(folder):
    done = train(folder, "run", "train.batch_size=3", "--devices", "2", "--accelerator", "cpu")
    assert done.returncode != 0
    assert "make it a multiple" in done.stderr


def test_devices_that_are_not_there_are_refused(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has a graphics processor")
    done = train(folder, "run", "--accelerator", "cuda")
    assert done.returncode == 2
    assert "--accelerator" in done.stderr and "Traceback" not in done.stderr


def test_a_killed_rank_is_started_anew_and_weights_end_the_same(folder):
    """torchrun starts all processes again, which go on from the newest checkpoint: to the bit as if nothing had happened."""
    overrides = ("train.steps=64", "train.checkpoint_every=5", "--accelerator", "cpu")
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--max-restarts", "2")
    refused = train(folder, "undisturbed", *overrides, launcher=torchrun)
    assert refused.returncode != 0 and "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun" in refused.stderr
    fresh = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    undisturbed = train(folder, "undisturbed", "--resume", *overrides, launcher=torchrun, **fresh)
    assert undisturbed.returncode == 0, undisturbed.stderr
    command = [sys.executable, *torchrun, "-m", "edgeseq", "train", "recipe.yaml", "--out", "killed", "--workers", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **fresh}
    with subprocess.Popen(
        [*command, "--resume", *overrides], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as agent:
        step = random.randint(1, 32)
        wait_for_step(folder / "killed" / "metrics.jsonl", step)
        victim = random.choice(children(agent.pid))
        os.kill(victim, signal.SIGKILL)
        said = agent.stderr.read()
    assert agent.returncode == 0, f"killed at step {step}: {said}"
    assert "SIGKILL" in said or "exitcode: -9" in said
    assert losses(folder, "killed") == losses(folder, "undisturbed")
    one, other = (load_checkpoint(latest_checkpoint(folder / run / "checkpoints")) for run in ("undisturbed", "killed"))
    assert one.step == other.step == 64
    assert all(torch.equal(other.model[name], weights) for name, weights in one.model.items())
    assert all(torch.equal(tensor, other.carried[name]) for name, tensor in one.carried.items())


def wait_for_step(path, step, seconds=120):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if path.exists() and sum('"loss"' in line for line in path.read_text().splitlines()) >= step:
            return
        time.sleep(0.005)
    pytest.fail(f"step {step} was not reached in {seconds} s")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
