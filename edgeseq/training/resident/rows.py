"""What stands where in a batch: clips drawn by weight, joined to rows with gaps, their targets one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edgeseq.training.plan import LONG_GAP
from edgeseq.training.recipe import JoiningRecipe, TrainRecipe

EASY_SECONDS = 4.0
"""Longest clips of the easy first steps, and the length of their rows with a gap."""
ROW_QUANTUM = 1.0
"""Rows are multiples of this many seconds long."""


@dataclass(frozen=True)
class Choice:
    """The clips that training draws from."""

    lengths: NDArray[np.int64]
    """samples at each speed, `[n_speeds, n_clips]`"""
    targets: Sequence[NDArray[np.int32]]
    """token ids of each clip"""
    weights: NDArray[np.float64]
    """how likely each clip is drawn, `[n_clips]`, sum 1"""
    easy: NDArray[np.bool_]
    """drawn from in the easy first steps, `[n_clips]`"""
    usual: int
    """number of the speed 1"""


@dataclass(frozen=True)
class PlannedBatch:
    """A batch before it sounds."""

    step: int
    difficulty: float
    n_samples: int
    """of each row"""
    clips: Tensor
    """number of each clip in the store, int64 `[n_placed]`"""
    speeds: Tensor
    """number of its speed, int64 `[n_placed]`"""
    places: Tensor
    """first sample in the batch read as one line, int64 `[n_placed]`"""
    lengths: Tensor
    """samples taken, int64 `[n_placed]`"""
    targets: Tensor
    """token ids of all rows one behind the other, int64 `[n_targets]`"""
    target_lengths: Tensor
    """int64 `[n_rows]`"""
    restart: Tensor
    """rows that begin from a zero state, bool `[n_rows]`"""

    def pin_memory(self) -> PlannedBatch:
        """Put it where a GPU reads it without stopping the program."""
        return replace(
            self,
            clips=self.clips.pin_memory(),
            speeds=self.speeds.pin_memory(),
            places=self.places.pin_memory(),
            lengths=self.lengths.pin_memory(),
            targets=self.targets.pin_memory(),
            restart=self.restart.pin_memory(),
        )


def difficulty(step: int, train: TrainRecipe) -> float:
    """How far from the easy beginning (0) to full training (1) a step is."""
    return min(1.0, max(0.0, (step - train.easy_steps) / max(1, train.ramp_steps)))


class Planner(IterableDataset[PlannedBatch]):
    """Plans batch after batch; the plan of a step depends on seed and step alone."""

    def __init__(self, choice: Choice, joining: JoiningRecipe, train: TrainRecipe, sample_rate: int, hop: int) -> None:
        """Rows are whole multiples of `hop` samples."""
        super().__init__()
        self.choice, self.joining, self.train, self.rate, self.hop = choice, joining, train, sample_rate, hop
        seconds = choice.lengths[choice.usual] / sample_rate
        gentle = np.where(choice.easy & (seconds <= EASY_SECONDS), choice.weights, 0)
        self._gentle = np.cumsum(gentle / gentle.sum())
        self._full = np.cumsum(choice.weights)

    def __iter__(self) -> Iterator[PlannedBatch]:
        """Plan the steps in order; workers of a loader take turns."""
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step in range(1 + first, self.train.steps + 1, every):
            yield self.plan(step)

    def loader(self, workers: int) -> DataLoader[PlannedBatch]:
        """Plan ahead in processes."""
        return DataLoader(self, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None)

    def plan(self, step: int) -> PlannedBatch:
        """Plan one batch."""
        rng = np.random.default_rng([self.train.seed, step])
        hard = difficulty(step, self.train)
        seconds = EASY_SECONDS + hard * max(0.0, self.joining.row_seconds - EASY_SECONDS)
        row = int(np.ceil(seconds / ROW_QUANTUM) * ROW_QUANTUM * self.rate) // self.hop * self.hop
        n_rows = self.train.batch_size
        if self.train.batch_seconds is not None:
            n_rows = min(n_rows, max(1, int(self.train.batch_seconds * self.rate) // row))
        placed = [self._fill(rng, number, row, hard) for number in range(n_rows)]
        clips = [clip for one in placed for clip in one]
        targets = [np.concatenate([self.choice.targets[c] for c, *_ in one] or [np.zeros(0, np.int32)]) for one in placed]
        columns = np.array(clips, dtype=np.int64).reshape(-1, 4).T
        clip, speed, place, length = (torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
        return PlannedBatch(
            step,
            hard,
            row,
            clip,
            speed,
            place,
            length,
            torch.from_numpy(np.concatenate(targets).astype(np.int64)),
            torch.tensor([len(target) for target in targets]),
            torch.from_numpy(rng.random(n_rows) < (self.joining.restart if hard > 0 else 1.0)),
        )

    def _fill(self, rng: np.random.Generator, number: int, row: int, hard: float) -> list[tuple[int, int, int, int]]:
        """Place clips in one row: (clip, speed, first sample in the batch, samples)."""
        joining = self.joining
        if hard > 0 and rng.random() < joining.silence:
            return []
        tail = int(joining.tail_seconds * self.rate)
        at = int(rng.uniform(*joining.gap_seconds) * self.rate)
        placed: list[tuple[int, int, int, int]] = []
        misses = 0
        while misses < 4:
            clip, speed = self._draw(rng, hard)
            length = int(self.choice.lengths[speed, clip])
            if at + length > row - tail:
                misses += 1
                if not placed and length <= row:  # a clip as long as the row stands alone
                    return [(clip, speed, number * row + max(0, min(at, row - tail - length)), length)]
                continue
            placed.append((clip, speed, number * row + at, length))
            long = rng.random() < LONG_GAP
            gap = rng.uniform(0, joining.row_seconds / 2) if long else rng.uniform(*joining.gap_seconds)
            at += length + int(gap * self.rate)
            if hard == 0:
                break
        return placed

    def _draw(self, rng: np.random.Generator, hard: float) -> tuple[int, int]:
        """Draw a clip and a speed."""
        full = rng.random() < hard
        shares = self._full if full else self._gentle
        clip = min(int(np.searchsorted(shares, rng.random(), side="right")), len(shares) - 1)
        speed = int(rng.integers(len(self.choice.lengths))) if full else self.choice.usual
        return clip, speed
