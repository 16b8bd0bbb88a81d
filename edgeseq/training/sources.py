"""What training draws from: the recordings of each manifest, those left out that cannot teach."""

from __future__ import annotations

import fnmatch
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseq.errors import ManifestError, RecipeError
from edgeseq.training.manifest_index import Recordings, take
from edgeseq.training.recipe import SourceRecipe
from edgeseq.training.tasks.task import Task

MAX_FAULTS = 20

File = tuple[Path, tuple[int, int] | None]


@dataclass(frozen=True)
class Source:
    """Recordings of one manifest, and how often they are drawn; of each, memory holds some numbers."""

    recordings: Recordings
    weight: float
    easy: bool
    consecutive: bool
    """rows follow a long file from stretch to stretch"""
    durations: NDArray[np.float64]
    """seconds, one a recording"""
    offsets: NDArray[np.float64]
    """seconds, one a recording where they are `consecutive`, else none"""
    goes_on: NDArray[np.bool_]
    """the recording is the next stretch of the file of the one before it; of these, too, there are none unless `consecutive`"""


def pick_source(recipe: SourceRecipe, recordings: Recordings, task: Task) -> Source:
    """Leave out the speakers that the recipe excludes, and recordings that the task cannot use.

    Raises RecipeError where nothing is left, ManifestError that lists the recordings whose targets are wrong.
    """
    numbers, durations, offsets = array("q"), array("d"), array("d")
    files: list[File] = []
    known: dict[File, File] = {}
    faults: list[str] = []
    n_wanted = n_faults = 0
    for number, recording in enumerate(recordings):
        if any(fnmatch.fnmatch(recording.speaker or "", pattern) for pattern in recipe.exclude):
            continue
        n_wanted += 1
        try:
            accepted = task.accepts(recording)
        except ManifestError as fault:
            n_faults += 1
            faults += [f"{recording.path}: {fault}"][: MAX_FAULTS - len(faults)]
            continue
        if not accepted:
            continue
        numbers.append(number)
        durations.append(recording.duration)
        if recipe.consecutive:
            offsets.append(recording.offset)
            file = (recording.path, recording.within)
            files.append(known.setdefault(file, file))
    if faults:
        raise ManifestError("\n".join(faults) + (f"\n... and {n_faults - len(faults)} more" if n_faults > len(faults) else ""))
    if not n_wanted:
        raise RecipeError(f"{recipe.manifest}: 'exclude' leaves no recording. Correct its patterns: {list(recipe.exclude)}.")
    if not numbers:
        raise RecipeError(f"{recipe.manifest}: {task.why_none()}")
    order, goes_on = _consecutive_order(files, offsets)
    return Source(
        take(recordings, np.array(numbers, dtype=np.int64)[order]),
        recipe.weight,
        recipe.easy,
        recipe.consecutive,
        np.array(durations)[order],
        np.array(offsets)[order if files else slice(0)],
        goes_on,
    )


def _consecutive_order(files: Sequence[File], offsets: Sequence[float]) -> tuple[NDArray[np.int64] | slice, NDArray[np.bool_]]:
    """Order stretches by file and time, and say which continue the file of the one before; nothing for no files."""
    if not files:
        return slice(None), np.zeros(0, dtype=bool)
    order = sorted(range(len(files)), key=lambda i: (str(files[i][0]), files[i][1] or (), offsets[i]))
    goes_on = [False, *(files[one] == files[other] for one, other in itertools.pairwise(order))]
    return np.array(order, dtype=np.int64), np.array(goes_on, dtype=bool)
