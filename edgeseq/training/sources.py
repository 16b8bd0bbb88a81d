"""What training draws from: the recordings of each manifest, those left out that cannot teach."""

from __future__ import annotations

import fnmatch
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError, RecipeError
from edgeseq.model.signature import AUDIO
from edgeseq.tokens.table import normalize_text
from edgeseq.training.manifest_index import ManifestIndex, Recordings, take
from edgeseq.training.recipe import Recipe, SourceRecipe
from edgeseq.training.tasks.task import Task

MAX_FAULTS = 20


@dataclass(frozen=True)
class Source:
    """Recordings of one manifest, and how often they are drawn; of each, memory holds some numbers."""

    recordings: Recordings
    weight: float
    easy: bool
    durations: NDArray[np.float64]
    """seconds, one a recording"""


@dataclass(frozen=True)
class OwnWords:
    """What the network learns to write, word by word."""

    words: frozenset[str] = frozenset()
    language: str = ""

    @classmethod
    def of(cls, manifests: Iterable[ManifestIndex], language: str) -> OwnWords:
        """Collect the words of all texts of `manifests`."""
        texts = {text for manifest in manifests for text in manifest.texts()}
        return cls(frozenset(word for text in texts for word in normalize_text(text, language).split()), language)

    def are_in(self, text: str) -> bool:
        """Whether a text holds one of them."""
        return not self.words.isdisjoint(normalize_text(text, self.language).split())


class Wordless:
    """Recordings of other speech, whose words nobody is to write."""

    def __init__(self, recordings: Recordings) -> None:
        """Take the texts away from `recordings`."""
        self._recordings = recordings

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._recordings)

    def __getitem__(self, number: int, /) -> Recording:
        """Give one, with an empty text."""
        return replace(self._recordings[number], text="")

    def __iter__(self) -> Iterator[Recording]:
        """Give all of them."""
        return (replace(recording, text="") for recording in self._recordings)


NONE = OwnWords()


def refuse_other_input(recording: Recording, recipe: Recipe) -> None:
    """Raise ManifestError for sound where a recipe takes symbols, and the like."""
    wanted = recipe.input.port(1).name
    seen = AUDIO if recording.units is None else recording.units.kind
    if seen != wanted:
        raise ManifestError(
            f"{recording.where}: the line holds '{seen}', and the recipe's input is '{wanted}' (input.kind: "
            f"{recipe.input.kind}).\n  Name a manifest that holds '{wanted}', or change the recipe's input."
        )


def pick_source(recipe: SourceRecipe, recordings: Recordings, task: Task, own: OwnWords = NONE) -> Source:
    """Leave out the speakers that the recipe excludes, and recordings that the task cannot use.

    Recordings of other speech lose their texts; those with a word in `own` are left out.
    Raises RecipeError where nothing is left, ManifestError that lists the recordings whose targets are wrong.
    """
    numbers, durations = array("q"), array("d")
    faults: list[str] = []
    n_wanted = 0
    for number, recording in enumerate(recordings):
        if any(fnmatch.fnmatch(recording.speaker or "", pattern) for pattern in recipe.exclude):
            continue
        n_wanted += 1
        if (recipe.others and own.are_in(recording.text)) or not _accepts(task, recipe, recording, faults):
            continue
        numbers.append(number)
        durations.append(recording.duration)
    if faults:
        more = [f"... and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise ManifestError("\n".join(faults[:MAX_FAULTS] + more))
    if not n_wanted:
        raise RecipeError(f"{recipe.manifest}: 'exclude' leaves no recording. Correct its patterns: {list(recipe.exclude)}.")
    if not numbers:
        why = "every recording holds a word of the other manifests" if recipe.others else task.why_none()
        raise RecipeError(f"{recipe.manifest}: {why}")
    taken = take(recordings, np.array(numbers, dtype=np.int64))
    return Source(Wordless(taken) if recipe.others else taken, recipe.weight, recipe.easy, np.array(durations))


def _accepts(task: Task, recipe: SourceRecipe, recording: Recording, faults: list[str]) -> bool:
    """Ask the task whether it can use a recording; what is wrong with its targets is added to `faults`."""
    try:
        return task.accepts(replace(recording, text="") if recipe.others else recording)
    except ManifestError as fault:
        faults.append(f"{recording.path}: {fault}")
        return False
