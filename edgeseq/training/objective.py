"""What a training step makes small: CTC, over rows that go on from the state their streams had."""

from __future__ import annotations

from lightning.fabric import Fabric
from torch import Tensor
from torch.nn.functional import ctc_loss

from edgeseq.training.augmentation.spec_augment import spec_augment
from edgeseq.training.batches import Batch
from edgeseq.training.chance import RowChance
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import SAMPLES, SequenceModel
from edgeseq.training.state import State, restart


def streamed_loss(
    model: SequenceModel,
    recipe: Recipe,
    blank_id: int,
    batch: Batch,
    state: State,
    hardness: float,
    chance: RowChance,
    fabric: Fabric,
) -> tuple[Tensor, State]:
    """CTC loss (Graves et al. 2006) of a process's rows, a part of the mean over the target tokens of all processes.

    `state` is of these rows, before the batch; returned is theirs at its end. The frontend computes in 32 bit, the network in
    the recipe's precision.
    """
    device = state[SAMPLES].device
    state = restart(state, batch.restart.to(device))
    frames, samples = model.frontend.step(batch.audio.to(device), state[SAMPLES])
    frames = spec_augment(frames, recipe.augment.spec_augment, hardness, chance)
    with fabric.autocast():
        outputs, after = model.trunk.step(frames, state, chance)
        log_probs = model.head(outputs)
    loss = ctc_sum(log_probs.float(), batch, blank_id)
    return loss / max(1, int(batch.all_tokens)), {**after, SAMPLES: samples}


def ctc_sum(log_probs: Tensor, batch: Batch, blank_id: int) -> Tensor:
    """Sum of the negative natural-log likelihoods of all rows' texts, given `log_probs` `[n_rows, n_steps, n_tokens]`."""
    n_rows = batch.target_lengths.new_full((len(batch.target_lengths),), log_probs.shape[1])
    return ctc_loss(
        log_probs.transpose(0, 1),  # CTC wants time first
        batch.targets.to(log_probs.device),
        n_rows,
        batch.target_lengths,
        blank=blank_id,
        reduction="sum",
        zero_infinity=True,  # rows whose text is too long for their audio teach nothing
    )
