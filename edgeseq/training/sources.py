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

from edgeseq.decoding.ctc import rows_needed
from edgeseq.errors import ManifestError, RecipeError
from edgeseq.tokens.table import TokenTable
from edgeseq.training.manifest_index import Recordings, take
from edgeseq.training.recipe import SourceRecipe

MAX_FAULTS = 20

File = tuple[Path, tuple[int, int] | None]


@dataclass(frozen=True)
class Source:
    """Recordings of one manifest, and how often they are drawn; of each, memory holds some numbers."""

    recordings: Recordings
    tokens: TokenTable
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

    def spell(self, first: int, n_recordings: int = 1) -> list[int]:
        """Give the token ids of what is said from one recording on."""
        return [token for i in range(first, first + n_recordings) for token in self.tokens.encode(self.recordings[i].text)]


def pick_source(recipe: SourceRecipe, recordings: Recordings, tokens: TokenTable, seconds_per_token: float) -> Source:
    """Leave out the speakers that the recipe excludes, and clips said faster than `seconds_per_token`.

    Raises RecipeError where nothing is left, ManifestError that lists the texts that cannot be spelled.
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
            needed = rows_needed(tokens.encode(recording.text))
        except ManifestError as fault:
            n_faults += 1
            faults += [f"{recording.path}: {fault}"][: MAX_FAULTS - len(faults)]
            continue
        if recording.duration < seconds_per_token * needed:
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
        raise RecipeError(
            f"{recipe.manifest}: every clip is said faster than {seconds_per_token:.3f} s a token.\n"
            "  Lower data.min_rows_per_token, or network.subsampling."
        )
    order, goes_on = _consecutive_order(files, offsets)
    return Source(
        take(recordings, np.array(numbers, dtype=np.int64)[order]),
        tokens,
        recipe.weight,
        recipe.easy,
        recipe.consecutive,
        np.array(durations)[order],
        np.array(offsets)[order if files else slice(0)],
        goes_on,
    )


def _consecutive_order(files: Sequence[File], offsets: Sequence[float]) -> tuple[NDArray[np.int64] | slice, NDArray[np.bool_]]:
    """Order stretches by file and time, and say which go on in the file of the one before; nothing for no files."""
    if not files:
        return slice(None), np.zeros(0, dtype=bool)
    order = sorted(range(len(files)), key=lambda i: (str(files[i][0]), files[i][1] or (), offsets[i]))
    goes_on = [False, *(files[one] == files[other] for one, other in itertools.pairwise(order))]
    return np.array(order, dtype=np.int64), np.array(goes_on, dtype=bool)
