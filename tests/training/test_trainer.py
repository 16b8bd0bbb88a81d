"""Training: it learns, resumes exactly, and loses nothing when something goes wrong."""

import json

import pytest
import torch

from edgeseq.errors import EdgeseqError, ModelError, UsageError
from edgeseq.training import checkpoint as checkpoints
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from edgeseq.training.metrics import ValidReport
from edgeseq.training.trainer import learning_rate, train
from edgeseq.training.valid import collapse


def quietly(_):
    pass


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
    for ours, theirs in zip(whole.carried.encoder.hidden, resumed.carried.encoder.hidden, strict=True):
        assert torch.equal(ours, theirs)
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
    steps = {"steps": 300, "easy_steps": 100, "ramp_steps": 50, "warmup_steps": 20, "valid_every": 300}
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
        train={**steps, "batch_size": 8, "lr": 5e-3, "seed": seed},
    )
    reports = []
    trained = train(recipe, tmp_path / "run", resume=False, report=reports.append, workers=0)
    (valid,) = [r for r in reports if isinstance(r, ValidReport)]
    assert next(iter(valid.wer.values())) <= 50  # 100 and more before training
    log_probs, _ = trained.model.eval().step(torch.zeros(1, 16_000), trained.model.init_state(1))
    assert collapse(log_probs[0], trained.tokens.blank_id) == []
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
    assert going_on.carried.encoder.hidden[0].abs().sum() > 0
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


def test_resuming_with_another_network_is_refused_and_says_what_differs(tiny_recipe, tmp_path):
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    with pytest.raises(UsageError, match=r"network\.hidden_size: was 32, now 8"):
        train(tiny_recipe(network={"hidden_size": 8}), tmp_path, resume=True, report=quietly, workers=0)


def test_a_full_disk_leaves_the_checkpoint_before(tiny_recipe, tmp_path):
    """On /dev/full every write fails with 'no space left on device'."""
    train(tiny_recipe(), tmp_path, resume=False, report=quietly, workers=0)
    folder = tmp_path / "checkpoints"
    before = latest_checkpoint(folder)
    saved = load_checkpoint(before)
    (folder / "step-00000099.part").symlink_to("/dev/full")
    with pytest.raises(EdgeseqError, match=r"No space left(?s:.)*is untouched(?s:.)*--resume"):
        save_checkpoint(folder, checkpoints.Checkpoint(**{**saved.__dict__, "step": 99}))
    assert latest_checkpoint(folder) == before
    assert load_checkpoint(before).step == saved.step


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
