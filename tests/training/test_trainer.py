"""Training: it learns, resumes exactly, and loses nothing when something goes wrong."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from edgeseq.errors import EdgeseqError, ManifestError, ModelError, UsageError
from edgeseq.training import checkpoint as checkpoints
from edgeseq.training import processes
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from edgeseq.training.metric import WER
from edgeseq.training.metrics import Notice, StepReport, ValidReport
from edgeseq.training.sequence_model import build_model
from edgeseq.training.state import detach
from edgeseq.training.trainer import learning_rate, train
from edgeseq.training.valid import collapse
from edgeseq.training.weights import load_trained


def quietly(_):
    pass


def runs(pid):
    """Is there such a process, and is it more than a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_resumed_training_equals_an_uninterrupted_one(tiny_recipe, tmp_path, cell):
    recipe = tiny_recipe(network={"cell": cell, "hidden_size": 16, "num_layers": 2, "dropout": 0.3})
    whole = train(recipe, tmp_path / "whole", resume=False, report=quietly, workers=0)

    steps = []

    def stop_in_step_3():
        return len(steps) == 2

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", resume=False, report=steps.append, workers=0, stop=stop_in_step_3)
    resumed = train(recipe, tmp_path / "cut", resume=True, report=quietly, workers=1)
    assert same_weights(whole.model, resumed.model)
    assert whole.carried.keys() == resumed.carried.keys() != set()
    for name, theirs in resumed.carried.items():
        assert torch.equal(whole.carried[name], theirs)
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "cut")
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("seed", [2, 3])
def test_a_tiny_training_learns_to_hear_a_tone(tiny_recipe, tone_corpus, tmp_path, seed):
    """It says the word once for each tone, and nothing to silence."""
    manifest = tmp_path / "low.jsonl"
    low = [json.loads(line) for line in tone_corpus.read_text().splitlines() if '"text": "a"' in line]
    absolute = ({**line, "audio_filepath": str(tone_corpus.parent / line["audio_filepath"])} for line in low)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in absolute))
    steps = {"steps": 500, "easy_steps": 200, "ramp_steps": 50, "warmup_steps": 20, "valid_every": 500}
    recipe = tiny_recipe(
        data={"train": [{"manifest": str(manifest), "easy": True}], "valid": [str(manifest)]},
        network={"hidden_size": 32, "num_layers": 1, "dropout": 0},
        joining={"row_seconds": 1.5, "silence": 0.2},
        augment={
            "speed": [0.95, 1.05],
            "noise": {"snr_db": [20, 40]},
            "room": {"probability": 0},
            "spec_augment": {"mel_masks": 0, "time_masks": 0, "mel_warp": 0},
        },
        train={**steps, "batch_size": 8, "lr": 1e-2, "seed": seed},
    )
    reports = []
    trained = train(recipe, tmp_path / "run", resume=False, report=reports.append, workers=0)
    (valid,) = [r for r in reports if isinstance(r, ValidReport)]
    assert next(iter(valid.values[WER].values())) <= 50  # 100 and more before training
    log_probs, _ = trained.model.eval().step(torch.zeros(1, 16_000), trained.model.init_state(1))
    assert collapse(log_probs[0].detach().numpy(), trained.task.tokens.blank_id) == []
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((tmp_path / "run" / "tensorboard").iterdir())


def test_every_step_writes_one_json_line(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert {"gradient_norm", "lr", "difficulty", "audio_seconds", "seconds"} <= lines[0].keys()
    assert "wer" in lines[-1]


def test_the_state_is_carried_where_rows_go_on(tiny_recipe, tmp_path):
    recipe = tiny_recipe(joining={"row_seconds": 1.5, "restart": 0.0})
    going_on = train(recipe, tmp_path / "on", resume=False, report=quietly, workers=0)
    restarted = train(
        tiny_recipe(joining={"row_seconds": 1.5, "restart": 1.0}),
        tmp_path / "anew",
        resume=False,
        report=quietly,
        workers=0,
    )
    assert going_on.carried["hidden_0"].abs().sum() > 0
    assert not same_weights(going_on.model, restarted.model)


def test_beginning_anew_over_an_old_run_is_refused(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    with pytest.raises(UsageError, match="--resume"):
        train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)


def test_a_training_can_be_made_longer(tiny_recipe, tmp_path):
    steps = tiny_recipe().train.model_dump()
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    longer = train(tiny_recipe(train={**steps, "steps": 8}), tmp_path, resume=True, report=quietly, workers=0)
    assert longer.step == 8


def test_a_training_cannot_be_made_shorter_than_it_is(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    shorter = tiny_recipe(train={**tiny_recipe().train.model_dump(), "steps": 5})
    with pytest.raises(UsageError, match=r"6 steps are done; train.steps \(5\)"):
        train(shorter, tmp_path, resume=True, report=quietly, workers=0)


def test_resuming_with_another_network_is_refused_and_says_what_differs(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    with pytest.raises(UsageError, match=r"network\.hidden_size: was 32, now 8"):
        train(tiny_recipe(network={"hidden_size": 8}), tmp_path, resume=True, report=quietly, workers=0)


@contextmanager
def full_disk(monkeypatch, name):
    """What is written whole under a name goes to /dev/full, on which every write fails with 'no space left on device'."""
    really = os.open

    def fill(path, *rest, **more):
        return really("/dev/full", os.O_WRONLY) if f".{name}." in str(path) else really(path, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fill)
        yield


def test_a_full_disk_leaves_the_checkpoint_before(tiny_recipe, tmp_path, monkeypatch):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    folder = tmp_path / "checkpoints"
    before = latest_checkpoint(folder)
    saved = load_checkpoint(before)
    refused = pytest.raises(EdgeseqError, match=r"No space left(?s:.)*is untouched(?s:.)*--resume")
    with refused, full_disk(monkeypatch, "step-00000099.pt"):
        save_checkpoint(folder, checkpoints.Checkpoint(**{**saved.__dict__, "step": 99}))
    assert latest_checkpoint(folder) == before
    assert load_checkpoint(before).step == saved.step


def test_a_full_disk_leaves_what_was_written_down(tiny_recipe, tmp_path, monkeypatch):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    before = {name: (tmp_path / name).read_bytes() for name in ("metrics.jsonl", "recipe.yaml")}
    longer = tiny_recipe(train={**tiny_recipe().train.model_dump(), "steps": 8})
    for name in before:
        refused = pytest.raises(EdgeseqError, match=r"\(No space left(?s:.)*step-00000006.pt is kept(?s:.)*--resume")
        with refused, full_disk(monkeypatch, name):
            train(longer, tmp_path, resume=True, report=quietly, workers=0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before["metrics.jsonl"]
    assert train(longer, tmp_path, resume=True, report=quietly, workers=0).step == 8


def test_a_log_that_cannot_go_on_saves_what_was_learnt(tiny_recipe, tmp_path):
    """From step 3 on what is written to metrics.jsonl goes to a full disk."""

    def fill(report):
        if report.step == 2:
            (log,) = (int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == tmp_path / "metrics.jsonl")
            with Path("/dev/full").open("wb") as full:
                os.dup2(full.fileno(), log)

    with pytest.raises(EdgeseqError, match=r"cannot be written to \(No space left"):
        train(tiny_recipe(), tmp_path, resume=False, report=fill, workers=0)
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000003.pt"
    assert train(tiny_recipe(), tmp_path, resume=True, report=quietly, workers=0).step == 6


def test_only_the_newest_checkpoints_are_kept(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000004.pt", "step-00000006.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_files_that_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_never_runs_code(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "step-00000001.pt"
    torch.save({"step": Malicious()}, path)
    with pytest.raises(ModelError):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [learning_rate(step, 1.0, 10, 100) for step in range(101)]
    assert rates[0] == 0.1 and max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_kill_9_at_any_moment_changes_nothing(tiny_recipe, tmp_path):
    """A process of its own is killed in the midst of training; gone on with, it ends with the weights of one left in peace."""
    import os
    import random
    import signal
    import subprocess
    import sys
    import time

    import yaml

    recipe = tiny_recipe(train={**tiny_recipe().train.model_dump(mode="json"), "steps": 40, "checkpoint_every": 3})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    command = [sys.executable, "-m", "edgeseq", "train", "recipe.yaml", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "whole"], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    process = subprocess.Popen(
        [*command, "killed"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    metrics, after = tmp_path / "killed" / "metrics.jsonl", random.randint(4, 30)
    while not metrics.exists() or metrics.read_text().count("\n") < after:
        time.sleep(0.002)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = workers.read_text().split() if workers.exists() else []
    assert children or sys.platform != "linux"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    waited_until = time.monotonic() + 20
    while any(map(runs, children)) and time.monotonic() < waited_until:
        time.sleep(0.05)
    assert not any(map(runs, children))
    subprocess.run(
        [*command, "killed", "--resume"], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120
    )
    whole, killed = (load_checkpoint(latest_checkpoint(tmp_path / run / "checkpoints")) for run in ("whole", "killed"))
    assert whole.step == killed.step == 40
    assert all(torch.equal(weights, killed.model[name]) for name, weights in whole.model.items())
    assert all(torch.equal(one, killed.carried[name]) for name, one in whole.carried.items())
    told = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("whole", "killed")]
    assert [json.loads(line).get("loss") for line in told[0]] == [json.loads(line).get("loss") for line in told[1]]


def test_steps_that_are_no_number_are_skipped_then_end_the_training(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    path = latest_checkpoint(tmp_path / "checkpoints")
    saved = load_checkpoint(path)
    with torch.no_grad():
        saved.model["head.linear.bias"].fill_(float("nan"))
    save_checkpoint(tmp_path / "checkpoints", saved)
    longer = tiny_recipe(train={**tiny_recipe().train.model_dump(), "steps": 60, "most_bad_steps": 3, "checkpoint_every": 100})
    reports = []
    with pytest.raises(EdgeseqError, match=r"at most 3(?s:.)*\.flac(?s:.)*edgeseq data check"):
        train(longer, tmp_path, resume=True, report=reports.append, workers=0)
    notices = [report.notice for report in reports if isinstance(report, Notice)]
    assert len(notices) == 3 and "changes nothing (1 so far)" in notices[0]
    kept = load_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))
    for name, weights in saved.model.items():
        assert torch.equal(torch.nan_to_num(weights), torch.nan_to_num(kept.model[name]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_cannot_be_read_is_named_and_nothing_is_lost(tiny_recipe, tmp_path, tone_corpus, workers):
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [json.loads(line) for line in tone_corpus.read_text().splitlines()][:4]
    for line in lines:
        (folder / line["audio_filepath"]).write_bytes((tone_corpus.parent / line["audio_filepath"]).read_bytes())
    broken = {**lines[0], "audio_filepath": "broken.flac"}
    (folder / "broken.flac").write_bytes(b"fLaC, but nothing more")
    (folder / "easy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "hard.jsonl").write_text(json.dumps(broken) + "\n")
    sources = [{"manifest": str(folder / "easy.jsonl"), "easy": True}, {"manifest": str(folder / "hard.jsonl"), "weight": 50}]
    settings = {**tiny_recipe().train.model_dump(), "steps": 50, "easy_steps": 20, "checkpoint_every": 1000}
    recipe = tiny_recipe(data={"train": sources}, train=settings)
    # The statistics of the frontend hear hard clips before the first step: a run that has begun is what is looked at here.
    (folder / "broken.flac").write_bytes((folder / lines[0]["audio_filepath"]).read_bytes())
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", resume=False, report=quietly, workers=0, stop=lambda: True)
    (folder / "broken.flac").write_bytes(b"fLaC, but nothing more")
    with pytest.raises(ManifestError, match=r"broken\.flac: (cannot be read as sound|neither soundfile)"):
        train(recipe, tmp_path / "run", resume=True, report=quietly, workers=workers)
    assert load_checkpoint(latest_checkpoint(tmp_path / "run" / "checkpoints")).step >= 20


def test_a_changed_recipe_is_refused_with_the_difference(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    kept = (tmp_path / "recipe.yaml").read_text()
    settings = tiny_recipe().train.model_dump()
    changed = tiny_recipe(train={**settings, "lr": 0.5, "steps": 8}, joining={"row_seconds": 2.5})
    with pytest.raises(UsageError, match=r"joining\.row_seconds: was 1\.5, now 2\.5\n.*train\.lr: was 0\.002, now 0\.5"):
        train(changed, tmp_path, resume=True, report=quietly, workers=0)
    assert (tmp_path / "recipe.yaml").read_text() == kept


@pytest.mark.parametrize("kind", ["exponential", "uniform"])
def test_averaged_weights_are_exported(tiny_recipe, tmp_path, kind):
    settings = {**tiny_recipe().train.model_dump(), "averaging": {"kind": kind, "last_steps": 3}, "checkpoint_every": 1}
    seen = []

    def keep(report):
        if isinstance(report, StepReport) and report.step > 1:
            seen.append(load_checkpoint(latest_checkpoint(tmp_path / "run" / "checkpoints")).model["head.linear.weight"])

    trained = train(tiny_recipe(train=settings), tmp_path / "run", resume=False, report=keep, workers=0)
    seen.append(trained.model.state_dict()["head.linear.weight"])
    released = load_trained(tmp_path / "run").model.state_dict()["head.linear.weight"]
    assert not torch.equal(released, seen[-1])
    if kind == "uniform":
        torch.testing.assert_close(released, torch.stack(seen[-3:]).mean(dim=0))
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe(train=settings), tmp_path / "cut", resume=False, report=quietly, workers=0, stop=lambda: True)
    train(tiny_recipe(train=settings), tmp_path / "cut", resume=True, report=quietly, workers=0)
    assert torch.equal(load_trained(tmp_path / "cut").model.state_dict()["head.linear.weight"], released)


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(tiny_recipe, tmp_path):
    """At a rate of next to nothing no validation betters the first."""
    settings = {**tiny_recipe().train.model_dump(), "steps": 50, "lr": 1e-9, "valid_every": 2, "patience": 3}
    reports = []
    train(tiny_recipe(train=settings), tmp_path, resume=False, report=reports.append, workers=0)
    assert [r.step for r in reports if isinstance(r, ValidReport)] == [2, 4, 6, 8]
    assert any(isinstance(r, Notice) and "stopped" in r.notice for r in reports)
    assert load_checkpoint(tmp_path / "checkpoints" / "best.pt").step == 2
    assert load_checkpoint(latest_checkpoint(tmp_path / "checkpoints")).step == 8


def test_a_device_that_fails_is_told_and_checkpoints_are_kept(tiny_recipe, tmp_path):
    def fail(report):
        if isinstance(report, StepReport) and report.step == 5:
            raise torch.AcceleratorError("CUDA error: the launch timed out and was terminated")

    with pytest.raises(EdgeseqError, match=r"failed after step 5: CUDA error(?s:.)*step-00000004\.pt is kept(?s:.)*--resume"):
        train(tiny_recipe(), tmp_path, resume=False, report=fail, workers=0)


def test_training_in_pieces_equals_one_long_row(tiny_recipe):
    """Two rows, the second going on from the state of the first, are one row: same log-probs, same state."""
    torch.manual_seed(0)
    recipe = tiny_recipe()
    model = build_model(recipe.input, recipe.network, 4)
    audio = 0.1 * torch.randn(3, 6400)
    whole, end = model.step(audio, model.init_state(3))
    first, middle = model.step(audio[:, :3200], model.init_state(3))
    second, last = model.step(audio[:, 3200:], detach(middle))
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(last["hidden_0"], end["hidden_0"], atol=1e-4, rtol=0)
    second.sum().backward()  # the gradient ends at the border
    assert all(not hidden.requires_grad for hidden in detach(middle).values())


@pytest.mark.parametrize(("here", "elsewhere"), [("bf16", "32"), ("32", "bf16")])
def test_a_training_goes_on_in_the_precision_it_began_with(tiny_recipe, tmp_path, monkeypatch, here, elsewhere):
    def recipe(steps):
        return tiny_recipe(train={**tiny_recipe().train.model_dump(), "precision": "auto", "steps": steps})

    monkeypatch.setattr(processes, "quickest_precision", lambda _: here)
    whole = train(recipe(6), tmp_path / "whole", resume=False, report=quietly, workers=0)
    steps = []
    with pytest.raises(KeyboardInterrupt):
        train(recipe(6), tmp_path / "parts", resume=False, report=steps.append, workers=0, stop=lambda: len(steps) == 3)
    monkeypatch.setattr(processes, "quickest_precision", lambda _: elsewhere)
    resumed = train(recipe(6), tmp_path / "parts", resume=True, report=quietly, workers=0)
    assert resumed.recipe.train.precision == here
    assert yaml.safe_load((tmp_path / "parts" / "recipe.yaml").read_text())["train"]["precision"] == here
    assert same_weights(resumed.model, whole.model)


def test_half_precision_trains(tiny_recipe, tmp_path):
    settings = {**tiny_recipe().train.model_dump(), "precision": "bf16"}
    trained = train(tiny_recipe(train=settings), tmp_path, resume=False, report=quietly, workers=0)
    assert all(weights.dtype == torch.float32 and weights.isfinite().all() for weights in trained.model.state_dict().values())
