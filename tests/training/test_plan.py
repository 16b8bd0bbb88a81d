"""Plans of batches: streams side by side, whose rows neither processes nor neighbours change."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.training.batches import REUSED_TOGETHER, JoinedBatches, drawn_step
from edgeseq.training.loading import load_ahead
from edgeseq.training.trainer import load_batches

RATE = 8000


@settings(max_examples=30, deadline=None)
@given(step=st.integers(0, 200), n_processes=st.sampled_from([1, 2, 4]))
def test_processes_hear_the_rows_of_one_plan(step, n_processes, plan_recipe, plan_batches):
    share = plan_recipe.train.batch_size // n_processes
    parts = [plan_batches.of_rows(range(n * share, (n + 1) * share)) for n in range(n_processes)]
    whole = plan_batches[step]
    heard = [part[step] for part in parts]
    assert torch.equal(torch.cat([part.audio for part in heard]), whole.audio)
    assert torch.equal(torch.cat([part.targets["ids"] for part in heard]), whole.targets["ids"])
    assert torch.equal(torch.cat([part.rows for part in heard]), whole.rows)
    assert {int(part.count) for part in heard} == {len(whole.targets["ids"])}


@pytest.fixture(scope="module")
def plan_recipe(tone_corpus):
    from edgeseq.training.recipe_file import parse_recipe

    values = {
        "name": "plan",
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "sine tones",
        "data": {"train": [{"manifest": str(tone_corpus), "easy": True}]},
        "joining": {"row_seconds": 1.5, "silence": 0.2},
        "train": {"steps": 100, "batch_size": 4, "easy_steps": 2, "ramp_steps": 20, "batch_seconds": 4.0},
    }
    return parse_recipe(values, "test")


@pytest.fixture(scope="module")
def plan_batches(plan_recipe):
    return load_batches(plan_recipe)


def test_a_batch_holds_no_more_sound_than_it_may(plan_batches, plan_recipe):
    sizes = []
    for step in range(30, 90):
        batch = plan_batches[step]
        sizes.append(len(batch.rows))
        assert len(batch.rows) == 1 or batch.audio.numel() <= 4.0 * RATE + len(batch.rows) * plan_recipe.step_units
    assert min(sizes) < 4 and len(set(sizes)) > 1
    waited = {number for step in range(30, 90) for number, row in enumerate(plan_batches.plan(step).rows) if not row.active}
    assert waited == {0, 1, 2, 3}  # each stream's turn comes


def test_sound_that_is_used_again_is_the_same(tiny_recipe):
    values = tiny_recipe().model_dump()
    recipe = tiny_recipe(augment=values["augment"] | {"uses": 2})
    batches = load_batches(recipe)
    first, again, later = batches[3], batches[3 + REUSED_TOGETHER], batches[3 + 2 * REUSED_TOGETHER]
    assert torch.equal(first.audio, again.audio) and torch.equal(first.restart, again.restart)
    assert first.audio.shape != later.audio.shape or not torch.equal(first.audio, later.audio)
    assert batches.plan(3) == batches.plan(3 + REUSED_TOGETHER)
    fresh = load_batches(recipe)  # as after resuming, without memory of what came before
    assert torch.equal(fresh[3 + REUSED_TOGETHER].audio, again.audio)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_sound_that_is_used_again_is_made_once_whoever_makes_it(tiny_recipe, tmp_path, monkeypatch, workers):
    """Three workers do not divide the batches of a group; a training that goes on begins within one."""
    recipe = tiny_recipe(augment=tiny_recipe().augment.model_dump() | {"uses": 3})
    batches = load_batches(recipe)
    make = JoinedBatches._make

    def make_and_note(self, step):
        with (tmp_path / "made").open("a") as file:
            file.write(f"{step}\n")
        return make(self, step)

    monkeypatch.setattr(JoinedBatches, "_make", make_and_note)
    steps = range(REUSED_TOGETHER + 50, 4 * REUSED_TOGETHER)
    loaded = [batch for batch, _ in load_ahead(batches, steps, workers)]
    made = [int(line) for line in (tmp_path / "made").read_text().split()]
    assert sorted(made) == [*range(REUSED_TOGETHER), *range(3 * REUSED_TOGETHER, 4 * REUSED_TOGETHER)]
    for step in (steps[0], steps[20], 3 * REUSED_TOGETHER - 1, steps[-1]):
        assert torch.equal(loaded[step - steps[0]].audio, batches[step].audio)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_each_batch_is_used_as_often_as_wanted(group, uses):
    first = group * REUSED_TOGETHER * uses
    drawn = [drawn_step(step, uses) for step in range(first, first + REUSED_TOGETHER * uses)]
    assert sorted(drawn) == sorted(list(range(first, first + REUSED_TOGETHER)) * uses)


def test_pieces_are_planned_as_long_as_they_are(tiny_recipe):
    """Clips, changed in speed, fill the places that the plan made for them."""
    batches = load_batches(tiny_recipe())
    for step in range(4, 30):
        plan, batch = batches.plan(step), batches[step]
        assert batch.audio.shape == (4, plan.n_units)
        assert all(row.n_units <= plan.n_units for row in plan.rows)
