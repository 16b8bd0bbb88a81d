"""Batches: pure functions of seed and step, from easy to hard."""

import dataclasses

import pytest
import torch

from edgeseq.data.manifest import read_manifest
from edgeseq.decoding.ctc import rows_needed
from edgeseq.errors import ManifestError, RecipeError
from edgeseq.tokens.table import TokenTable
from edgeseq.training.augmentation.spec_augment import spec_augment
from edgeseq.training.batches import JoinedBatches
from edgeseq.training.chance import RowChance
from edgeseq.training.plan import difficulty
from edgeseq.training.sources import MAX_FAULTS, pick_source
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.trainer import load_batches


def test_a_batch_is_a_function_of_seed_and_step(tiny_recipe):
    first, second = load_batches(tiny_recipe())[4], load_batches(tiny_recipe())[4]
    assert torch.equal(first.audio, second.audio)
    assert all(torch.equal(tensor, second.targets[name]) for name, tensor in first.targets.items())
    other = load_batches(tiny_recipe())[5]
    assert first.audio.shape != other.audio.shape or not torch.equal(first.audio, other.audio)


def test_rows_are_whole_steps_and_leave_room_for_the_last_word(tiny_recipe):
    recipe = tiny_recipe()
    batches = load_batches(recipe)
    for step in range(8):
        batch = batches[step]
        assert batch.audio.shape[1] % recipe.step_units == 0
        assert batch.audio.dtype == torch.float32 and batch.audio.abs().max() <= 1
        assert batch.targets["lengths"].sum() == len(batch.targets["ids"])
    assert not batches[0].audio[:, -int(0.2 * 8000) :].any()


def test_the_first_steps_are_single_clips_and_later_ones_joined(tiny_recipe):
    batches = load_batches(tiny_recipe())
    tokens = batches.task.tokens
    words_in = [int((batches[step].targets["ids"] == tokens.word_start_id).sum()) for step in range(6)]
    assert words_in[0] == 4
    assert words_in[5] > 4
    assert batches[0].restart.all()


def test_carried_rows_and_restarts_both_occur(tiny_recipe):
    batches = load_batches(tiny_recipe())
    restarts = torch.stack([batches[step].restart for step in range(10, 40)]).float().mean()
    assert 0.1 < restarts < 0.6


def test_silent_rows_occur_and_have_no_targets(tiny_recipe):
    recipe = tiny_recipe(joining={"row_seconds": 1.5, "silence": 1.0})
    batch = load_batches(recipe)[10]
    assert batch.targets["lengths"].sum() == 0


def test_difficulty_rises_from_zero_to_one():
    assert [difficulty(step, 10, 4) for step in (0, 10, 12, 14, 99)] == [0, 0, 0.5, 1, 1]


def test_excluded_speakers_are_left_out(tiny_recipe, tone_corpus):
    recipe = tiny_recipe().data.train[0]
    recordings = read_manifest(tone_corpus)
    tokens = TokenTable.of_characters("ab")
    kept = pick_source(recipe.model_copy(update={"exclude": ("voice[0-2]",)}), recordings, Task(tokens, 0.0))
    assert {r.speaker for r in kept.recordings} == {"voice3", "voice4", "voice5"}
    with pytest.raises(RecipeError, match="leaves no recording"):
        pick_source(recipe.model_copy(update={"exclude": ("*",)}), recordings, Task(tokens, 0.0))


def test_clips_too_fast_for_ctc_are_left_out(tiny_recipe, tone_corpus):
    recordings = read_manifest(tone_corpus)
    hurried = [dataclasses.replace(recordings[0], duration=0.07), *recordings[1:]]
    tokens = TokenTable.of_characters("ab")
    assert len(pick_source(tiny_recipe().data.train[0], hurried, Task(tokens, 0.04)).recordings) == len(recordings) - 1
    with pytest.raises(RecipeError, match="min_rows_per_token"):
        pick_source(tiny_recipe().data.train[0], hurried, Task(tokens, 1.0))


def test_equal_neighbours_need_a_blank_between():
    tokens = TokenTable.of_characters(["three"])
    assert rows_needed(tokens.encode("three three")) == 2 * (1 + 5 + 1)


def test_all_texts_that_cannot_be_spelled_are_listed(tiny_recipe, tone_corpus):
    recordings = [dataclasses.replace(r, text="cab") for r in read_manifest(tone_corpus)] * 3
    with pytest.raises(ManifestError) as caught:
        pick_source(tiny_recipe().data.train[0], recordings, Task(TokenTable.of_characters("ab"), 0.0))
    assert str(caught.value).count("'c'") == MAX_FAULTS and "... and 16 more" in str(caught.value)


def test_stretches_of_long_files_are_read(tone_corpus, tiny_recipe):
    batches = load_batches(tiny_recipe())
    recording = dataclasses.replace(read_manifest(tone_corpus)[0], offset=0.1, duration=0.05)
    assert len(batches.reader.read(recording)) == 400


def test_masks_have_strength_and_leave_the_rest(tiny_recipe):
    frames = torch.ones(4, 50, 32)
    frames[:, 0] = -2.0
    recipe = tiny_recipe().augment.spec_augment
    assert torch.equal(spec_augment(frames, recipe, 0.0, RowChance(0, 0, range(4))), frames)
    masked = spec_augment(frames, recipe, 1.0, RowChance(0, 0, range(4)))
    assert 0 < (masked[:, 1:] == -2).float().mean() < 0.6
    assert set(masked.unique().tolist()) == {-2.0, 1.0}


def test_batches_survive_pickling_for_worker_processes(tiny_recipe):
    import pickle

    batches = load_batches(tiny_recipe())
    copy = pickle.loads(pickle.dumps(batches))
    assert isinstance(copy, JoinedBatches)
    assert torch.equal(copy[3].audio, batches[3].audio)
