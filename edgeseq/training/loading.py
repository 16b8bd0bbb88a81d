"""Batches made ahead, in processes of their own, while the network trains."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from edgeseq.errors import EdgeseqError
from edgeseq.training.batch import Batch
from edgeseq.training.batches import REUSED_TOGETHER, JoinedBatches, drawn_step

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def load_ahead(batches: JoinedBatches, steps: Sequence[int], workers: int) -> Iterator[tuple[Batch, float]]:
    """Make the batches of `steps`, in other processes if there are `workers`; each with the seconds that were waited for it.

    Where the recipe uses augmented sound several times, each batch is made once and kept here, so that it makes no difference
    which worker made it. Arrays are handed over, not shared tensors. Raises the error that kept a batch from being made.
    """
    uses = batches.recipe.augment.uses
    drawn = [drawn_step(step, uses) for step in steps]
    made = _make_ahead(batches, list(dict.fromkeys(drawn)), workers)
    kept: dict[int, Batch] = {}
    for step in drawn:
        began = time.monotonic()
        batch = kept[step] if step in kept else next(made)
        yield batch, time.monotonic() - began
        if uses > 1 and step not in kept:
            kept[step] = batch
            while len(kept) > REUSED_TOGETHER:
                del kept[next(iter(kept))]


def _make_ahead(batches: JoinedBatches, steps: Sequence[int], workers: int) -> Iterator[Batch]:
    loader: DataLoader[Any] = DataLoader(
        BatchArrays(batches),
        batch_size=None,  # a batch is made whole
        sampler=steps,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_arrays,
        worker_init_fn=_leave_signals_to_parent,
    )
    for handed in loader:
        if isinstance(handed, EdgeseqError):
            raise handed
        yield Batch(*map(_as_tensors, handed))


def _as_arrays(batch: Any) -> Any:
    """Turn a batch's tensors, also those in mappings, into numpy arrays."""
    if isinstance(batch, EdgeseqError):
        return batch
    parts = [getattr(batch, one.name) for one in fields(batch)]
    return tuple({n: t.numpy() for n, t in part.items()} if isinstance(part, dict) else part.numpy() for part in parts)


def _as_tensors(part: Any) -> Any:
    return {name: torch.from_numpy(array) for name, array in part.items()} if isinstance(part, dict) else torch.from_numpy(part)


def _leave_signals_to_parent(_: int) -> None:
    """A signal to the whole group should stop the training, which then stops its workers; those end with it in any case."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_parent()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, however that ends: a queue's feeder would hold it up for ever."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it ended before the kernel was asked
        os._exit(1)


class BatchArrays(Dataset["Batch | EdgeseqError"]):
    """Batches as workers hand them over: what cannot be read comes as an error, to be raised where the training runs."""

    def __init__(self, batches: JoinedBatches) -> None:
        """Hand over `batches`."""
        self.batches = batches

    def __getitem__(self, step: int) -> Batch | EdgeseqError:
        """Make the batch of `step`, or say what kept it from being made."""
        try:
            return self.batches[step]
        except EdgeseqError as fault:
            return fault
