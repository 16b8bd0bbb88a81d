"""What a training step makes small: the task's loss, over rows that continue from the state of their streams."""

from __future__ import annotations

from torch import Tensor

from edgeseq.training.augmentation.spec_augment import spec_augment
from edgeseq.training.batch import Batch
from edgeseq.training.chance import RowChance
from edgeseq.training.lightning_import import Fabric
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.state import State, restart
from edgeseq.training.tasks.task import Task
from edgeseq.training.trunk import FRAMES


def streamed_loss(
    model: SequenceModel,
    recipe: Recipe,
    task: Task,
    batch: Batch,
    state: State,
    hardness: float,
    chance: RowChance,
    fabric: Fabric,
) -> tuple[Tensor, State]:
    """Loss of a process's rows, a part of the mean over what the task counts in all processes.

    `state` is of these rows, before the batch; returned is theirs at its end. The frontend computes in 32 bit, the network in
    the recipe's precision.
    """
    device = state[FRAMES].device
    state = restart(state, batch.restart.to(device))
    frames, left = model.frontend.advance(batch.units.to(device), state)
    if recipe.input.is_sound:
        frames = spec_augment(frames, recipe.augment.spec_augment, hardness, chance)
    with fabric.autocast():
        outputs, after = model.trunk.step(frames, state, chance)
        rows = model.head(outputs)
    targets = {name: tensor.to(device) for name, tensor in batch.targets.items()}
    return task.loss(rows.float(), targets) / max(1, int(batch.count)), {**after, **left}
