"""Token error rates of held-out clips, by greedy decoding on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.training.acoustic_model import AcousticModel

TAIL_SECONDS = 0.6
"""Silence behind each clip."""
TOGETHER = 64
"""Clips that are heard at once."""


@dataclass(frozen=True)
class HeldOut:
    """Clips that no weight has learned from."""

    name: str
    clips: Sequence[NDArray[np.int16]]
    targets: Sequence[Sequence[int]]


@torch.no_grad()
def error_rate(model: AcousticModel, held_out: HeldOut, blank_id: int, ignored: Sequence[int], sample_rate: int) -> float:
    """Give the percentage of tokens substituted, deleted or inserted, those `ignored` left out; rows are cut to each clip."""
    device = model.frontend.mean.device
    order = sorted(range(len(held_out.clips)), key=lambda i: len(held_out.clips[i]))
    errors = total = 0
    for first in range(0, len(order), TOGETHER):
        numbers = order[first : first + TOGETHER]
        lengths = [len(held_out.clips[i]) + int(TAIL_SECONDS * sample_rate) for i in numbers]
        audio = np.zeros((len(numbers), max(lengths)), np.float32)
        for row, i in zip(audio, numbers, strict=True):
            row[: len(held_out.clips[i])] = held_out.clips[i] / np.float32(32767)
        log_probs, _ = model.step(torch.from_numpy(audio).to(device), model.init_state(len(numbers)))
        best = log_probs.argmax(dim=-1).cpu()
        for row, length, i in zip(best, lengths, numbers, strict=True):
            n_rows = round(length / max(lengths) * len(row))
            found = [t for t in collapse(row[:n_rows], blank_id) if t not in ignored]
            wanted = [t for t in held_out.targets[i] if t not in ignored]
            errors += edit_distance(wanted, found)
            total += len(wanted)
    return 100 * errors / max(1, total)


def collapse(best: Tensor, blank_id: int) -> list[int]:
    """Merge repeats and drop blanks."""
    return [token for token in torch.unique_consecutive(best).tolist() if token != blank_id]


def edit_distance(wanted: Sequence[int], found: Sequence[int]) -> int:
    """Count the fewest substitutions, deletions and insertions (Levenshtein 1966).

    >>> edit_distance([1, 2, 3], [1, 3, 3, 4])
    2
    """
    other = np.array(found)
    index = np.arange(len(other) + 1)
    distances = index.copy()
    for number, token in enumerate(wanted, start=1):
        kept = np.concatenate([[number], np.minimum(distances[1:] + 1, distances[:-1] + (other != token))])
        distances = np.minimum.accumulate(kept - index) + index
    return int(distances[-1])
