"""What training draws from: the recordings of each manifest, spelled in tokens, those left out that cannot teach."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseq.ctc import rows_needed
from edgeseq.errors import ManifestError, RecipeError
from edgeseq.manifest import Recording
from edgeseq.recipe import SourceRecipe
from edgeseq.tokens import TokenTable

MAX_FAULTS = 20


@dataclass(frozen=True)
class Source:
    """Recordings of one manifest, and how often they are drawn."""

    recordings: tuple[Recording, ...]
    targets: tuple[tuple[int, ...], ...]
    """token ids of each recording's text"""
    weight: float
    easy: bool
    consecutive: bool
    """rows follow a long file from stretch to stretch"""
    durations: NDArray[np.float64]
    """seconds, one a recording"""
    goes_on: NDArray[np.bool_]
    """the recording is the next stretch of the file of the one before it"""


def pick_source(recipe: SourceRecipe, recordings: Sequence[Recording], tokens: TokenTable, seconds_per_token: float) -> Source:
    """Leave out the speakers that the recipe excludes, and clips said faster than `seconds_per_token`.

    Raises RecipeError where nothing is left, ManifestError where a text cannot be spelled.
    """
    wanted = [r for r in recordings if not any(fnmatch.fnmatch(r.speaker or "", p) for p in recipe.exclude)]
    if not wanted:
        raise RecipeError(f"{recipe.manifest}: 'exclude' leaves no recording. Correct its patterns: {list(recipe.exclude)}.")
    if recipe.consecutive:
        wanted.sort(key=lambda r: (str(r.path), r.offset))
    spelled = zip(wanted, spell(wanted, tokens), strict=True)
    kept = [(r, targets) for r, targets in spelled if r.duration >= seconds_per_token * rows_needed(targets)]
    if not kept:
        raise RecipeError(
            f"{recipe.manifest}: every clip is said faster than {seconds_per_token:.3f} s a token.\n"
            "  Lower data.min_rows_per_token, or network.subsampling."
        )
    clips, targets = zip(*kept, strict=True)
    return Source(
        clips,
        targets,
        recipe.weight,
        recipe.easy,
        recipe.consecutive,
        np.array([clip.duration for clip in clips]),
        np.array([False, *(one.path == other.path for one, other in itertools.pairwise(clips))]),
    )


def spell(recordings: Sequence[Recording], tokens: TokenTable) -> list[tuple[int, ...]]:
    """Encode all texts; raises ManifestError that lists every text with a character outside the tokens."""
    spelled, faults = [], []
    for recording in recordings:
        try:
            spelled.append(tuple(tokens.encode(recording.text)))
        except ManifestError as fault:
            faults.append(f"{recording.path}: {fault}")
    if faults:
        more = f"\n... and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ManifestError("\n".join(faults[:MAX_FAULTS]) + more)
    return spelled
