"""Trainings that go wrong say so: gradients that vanish or explode, losses that are no number."""

import math

import pytest
import torch

from edgeseq.errors import EdgeseqError
from edgeseq.training.watch import EXPLODED, VANISHED_STEPS, BadSteps, GradientWatch, layer_norms


def look(watch, steps, first=1, **norms):
    said = [watch.look(step, norms, 1.0) for step in range(first, first + steps)]
    return [text for text in said if text]


def test_ordinary_gradients_are_not_spoken_of():
    watch = GradientWatch()
    assert look(watch, 400, a=1.0, b=0.01) == []


def test_a_gradient_that_explodes_is_told_once():
    watch = GradientWatch()
    look(watch, 200, a=1.0)
    (said,) = look(watch, 3, first=201, a=2 * EXPLODED)
    assert "exploded" in said and "train.lr" in said


@pytest.mark.parametrize("ramp_steps", [0, 100])
def test_harder_batches_are_no_explosion(ramp_steps):
    watch = GradientWatch()
    look(watch, 200, a=1.0)
    said = []
    for step in range(201, 401):
        hardness = min(1.0, (step - 200) / ramp_steps) if ramp_steps else 1.0
        said.append(watch.look(step, {"a": 3 * EXPLODED * hardness}, 1.0, hardness))
    assert not any(said)
    assert "exploded" in (watch.look(401, {"a": 4 * EXPLODED**2}, 1.0, 1.0) or ""), "later ones are told again"


def test_a_layer_that_learns_nothing_is_named():
    watch = GradientWatch()
    (said,) = look(watch, VANISHED_STEPS + 5, **{"layer 1": 1e-9, "output": 1.0})
    assert "layer 1" in said and "vanished" in said and "output" not in said


def test_norms_are_those_of_layers():
    model = torch.nn.ModuleDict({"head": torch.nn.ModuleDict({"linear": torch.nn.Linear(2, 2)})})
    (norms,) = [layer_norms(model)]
    assert norms == {}
    model["head"]["linear"].weight.grad = torch.full((2, 2), 2.0)
    model["head"]["linear"].bias.grad = torch.full((2,), 1.0)
    assert layer_norms(model) == {"output": pytest.approx(math.sqrt(18))}


def test_too_many_bad_steps_name_what_they_heard():
    bad = BadSteps(2)
    assert "1 so far" in bad.add(5, math.nan, ["a.wav"])
    bad.add(6, math.inf, ["b.wav"])
    with pytest.raises(EdgeseqError, match=r"3th time(?s:.)*b\.wav(?s:.)*c\.wav"):
        bad.add(7, math.nan, ["c.wav"])
