"""Training with all sound on the device: what is placed where, how loud, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from tiny_tones import RATE, tone_recipe, write_tones
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.errors import RecipeError, UsageError
from edgeseq.training.augment_recipe import AugmentRecipe
from edgeseq.training.metric import WER
from edgeseq.training.metrics import StepReport
from edgeseq.training.resident.loop import train
from edgeseq.training.resident.prepare import prepare
from edgeseq.training.resident.rendering import Renderer
from edgeseq.training.resident.rows import Planner
from edgeseq.training.resident.stack import Stack
from edgeseq.training.resident.store import LEVEL_DB, fill_store, speeds_between
from edgeseq.training.trainer import load_batches
from edgeseq.training.weights import load_trained

CPU = torch.device("cpu")
PLAIN = AugmentRecipe.model_validate(
    {
        "speed": (1, 1),
        "level_db": (0, 0),
        "clip_level_db": (0, 0),
        "noise": {"probability": 0},
        "room": {"probability": 0},
        "microphone": {"probability": 0},
    }
)


@pytest.fixture
def prepared(tmp_path):
    recipe = tone_recipe(write_tones(tmp_path / "data"), easy_steps=2, ramp_steps=2)
    batches = load_batches(recipe)
    tokens = batches.task.tokens
    return prepare(recipe, tokens, batches.sources, CPU, threads=2)


def tone(seconds, hertz=500.0, amplitude=8000):
    return np.round(amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def planner(prepared, **joining):
    recipe = prepared.recipe
    changed = recipe.joining.model_copy(update={"row_seconds": 3.0, "silence": 0.0, **joining})
    return Planner(prepared.choice, changed, recipe.train, RATE, recipe.step_units)


class TestStore:
    def test_a_clip_at_another_speed_is_as_much_shorter_and_higher(self):
        store = fill_store([tone(1.0), tone(0.5, 800)], speeds_between(0.8, 1.25), RATE, CPU)
        assert store.lengths.shape == (10, 2)
        for number, speed in enumerate(speeds_between(0.8, 1.25)):
            first, length = store.starts[number, 1], store.lengths[number, 1]
            assert abs(length - 0.5 * RATE / float(speed)) <= 1
            spectrum = np.abs(np.fft.rfft(store.samples[first : first + length].numpy()))
            assert abs(spectrum.argmax() * RATE / length - 800 * float(speed)) < 2 * RATE / length

    @pytest.mark.parametrize("amplitude", [300, 30000])
    def test_its_gain_brings_a_clip_to_the_level(self, amplitude):
        clip = np.concatenate([np.zeros(RATE // 2, np.int16), tone(0.6, amplitude=amplitude)])
        gain = fill_store([clip], speeds_between(1, 1), RATE, CPU).gains[0]
        rms = np.sqrt(np.mean((clip[RATE // 2 :] * gain) ** 2))
        assert abs(20 * np.log10(rms) - LEVEL_DB) < 0.5


class TestRows:
    def test_a_plan_depends_on_seed_and_step_alone(self, prepared):
        one, other = planner(prepared).plan(7), planner(prepared).plan(7)
        assert all(
            torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True) if torch.is_tensor(a)
        )
        assert not torch.equal(one.clips, planner(prepared).plan(8).clips)

    @pytest.mark.parametrize("step", [1, 3, 9])
    def test_clips_lie_within_their_rows_and_apart(self, prepared, step):
        batch = planner(prepared).plan(step)
        rows = (batch.places // batch.n_samples).tolist()
        assert rows == ((batch.places + batch.lengths - 1) // batch.n_samples).tolist()
        ends = (batch.places + batch.lengths)[:-1]
        assert bool((batch.places[1:] >= ends).all())

    def test_targets_are_those_of_the_clips_in_order(self, prepared):
        batch = planner(prepared).plan(9)
        spelled = np.concatenate([prepared.choice.targets[clip] for clip in batch.clips.tolist()])
        assert batch.targets.tolist() == spelled.tolist()
        per_row = [0] * len(batch.target_lengths)
        for clip, place in zip(batch.clips.tolist(), batch.places.tolist(), strict=True):
            per_row[place // batch.n_samples] += len(prepared.choice.targets[clip])
        assert batch.target_lengths.tolist() == per_row

    def test_the_easy_beginning_has_one_clip_a_row_and_starts_from_zero(self, prepared):
        batch = planner(prepared).plan(1)
        assert batch.difficulty == 0
        assert len(batch.clips) == len(batch.target_lengths)
        assert bool(batch.restart.all())

    def test_rows_without_a_word_have_no_target(self, prepared):
        batch = planner(prepared, silence=1.0).plan(9)
        assert len(batch.clips) == len(batch.targets) == 0


class TestRendering:
    def test_without_augmentation_clips_stand_where_they_were_planned(self, prepared):
        batch = planner(prepared).plan(9)
        sound = Renderer(prepared.store, PLAIN, [], [], 1).samples(batch).flatten()
        store = prepared.store
        for clip, speed, place, length in zip(batch.clips, batch.speeds, batch.places, batch.lengths, strict=True):
            first = store.starts[speed, clip]
            wanted = store.samples[first : first + length].float() * float(store.gains[clip])
            assert torch.allclose(sound[place : place + length], wanted, atol=1e-5)

    @pytest.mark.parametrize("snr_db", [0.0, 20.0])
    def test_noise_is_as_much_below_speech_as_asked(self, prepared, snr_db):
        noisy = PLAIN.model_copy(
            update={"noise": PLAIN.noise.model_copy(update={"probability": 1.0, "snr_db": (snr_db, snr_db)})}
        )
        batch = planner(prepared, silence=1.0).plan(9)
        sound = Renderer(prepared.store, noisy, [], [], 1).samples(batch)
        levels = 10 * torch.log10(sound.square().mean(dim=1))
        assert abs(float(levels.mean()) - (LEVEL_DB - snr_db)) < 1

    def test_recorded_noise_too(self, prepared):
        recorded = PLAIN.recorded_noise.model_copy(update={"probability": 1.0, "sounds": "x", "snr_db": (10.0, 10.0)})
        batch = planner(prepared, silence=1.0).plan(9)
        renderer = Renderer(prepared.store, PLAIN.model_copy(update={"recorded_noise": recorded}), [tone(2.0, 50)], [], 1)
        levels = 10 * torch.log10(renderer.samples(batch).square().mean(dim=1))
        assert abs(float(levels.mean()) - (LEVEL_DB - 10)) < 0.5

    def test_masks_fall_on_whole_frames_and_bands(self, prepared):
        spec = PLAIN.spec_augment.model_copy(update={"mel_warp": 0.0, "time_masks": 2, "mel_masks": 1})
        renderer = Renderer(prepared.store, PLAIN.model_copy(update={"spec_augment": spec}), [], [], 1)
        masked = renderer.mask(torch.ones(8, 100, 32), 1.0) == 0
        dark_frames, dark_bands = masked.all(dim=2, keepdim=True), masked.all(dim=1, keepdim=True)
        assert torch.equal(masked, dark_frames | dark_bands)
        assert bool(dark_frames.any())
        assert bool(dark_bands.any())

    def test_what_it_cannot_do_is_refused(self, prepared):
        clipping = PLAIN.model_copy(update={"clipping": PLAIN.clipping.model_copy(update={"probability": 0.5})})
        with pytest.raises(RecipeError, match=r"augment\.clipping"):
            Renderer(prepared.store, clipping, [], [], 1)


def test_layers_in_one_call_are_the_same_network(prepared):
    from edgeseq.training.sequence_model import build_model

    model = build_model(prepared.recipe.frontend, prepared.recipe.network, 4)
    frames, state = torch.randn(3, 41, 32), model.trunk.init_state(3)
    outputs, after = model.trunk.step(frames, state)
    one = model.head(outputs)
    other, after_stack = Stack(model.trunk, model.head).step(frames, state)
    assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(after["hidden_0"], after_stack["hidden_0"], atol=1e-6)


@pytest.fixture
def trained(tmp_path):
    recipe = tone_recipe(write_tones(tmp_path / "data"), steps=120, easy_steps=60, ramp_steps=20)
    reports = []
    train(recipe, tmp_path / "run", device=CPU, report=reports.append, threads=1, workers=0)
    return tmp_path / "run", recipe, reports


class TestTraining:
    def test_it_learns_and_its_checkpoint_is_one_like_any_other(self, trained):
        folder, recipe, reports = trained
        assert [one.step for one in reports if isinstance(one, StepReport)] == [50, 100, 120]
        assert max(reports[-1].values[WER].values()) == 0
        found = load_trained(folder)
        assert found.recipe == recipe
        assert found.tokens.symbols == ("<blk>", "▁", "a", "b")

    def test_a_folder_that_holds_a_training_is_refused(self, trained):
        folder, recipe, _ = trained
        with pytest.raises(UsageError, match="cannot be resumed"):
            train(recipe, folder, device=CPU, report=lambda _: None, threads=1, workers=0)

    def test_stopping_saves_a_checkpoint(self, tmp_path):
        recipe = tone_recipe(write_tones(tmp_path / "data"))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", device=CPU, report=lambda _: None, threads=1, workers=0, stop=lambda: True)
        assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000001.pt"]

    def test_time_ends_it_too(self, tmp_path):
        recipe = tone_recipe(write_tones(tmp_path / "data"), steps=10**6)
        train(recipe, tmp_path / "run", device=CPU, report=lambda _: None, threads=1, workers=0, minutes=0.01)
        assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "1"], "--minutes is about --resident"),
        (["--resident", "--resume"], "cannot be resumed"),
        (["--resident", "--nodes", "2"], "one device"),
        (["--resident", "--accelerator", "tpu"], "trains here on cpu"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, said):
    recipe = tone_recipe(write_tones(tmp_path / "data"))
    path = tmp_path / "tones.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(path), "--out", str(tmp_path / "run"), *options])
    assert (result.exit_code, said in str(result.output) + str(result.exception)) == (2, True)
