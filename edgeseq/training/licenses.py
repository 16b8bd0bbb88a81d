"""Under which licences the recordings of a training are, and whether its recipe allows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from edgeseq.data.manifest import Recording
from edgeseq.errors import RecipeError
from edgeseq.training.recipe import DataRecipe, SourceRecipe
from edgeseq.training.sources import Source

UNKNOWN = "unknown"


def license_of(recording: Recording, source: SourceRecipe) -> str:
    """Name the licence of a recording: its manifest's (`licence` or `license`), else the source's."""
    return str(recording.extra.get("licence") or recording.extra.get("license") or source.license or UNKNOWN)


def count_licenses(source: SourceRecipe, recordings: Iterable[Recording]) -> Counter[str]:
    """Count recordings by licence."""
    return Counter(license_of(recording, source) for recording in recordings)


def refuse_licenses(recipe: DataRecipe, sources: Sequence[Source]) -> None:
    """Raise RecipeError that lists every licence of a source outside `data.licenses`, if the recipe has such a list."""
    if recipe.licenses is None:
        return
    faults = [
        f"  {source.manifest}: {count:,} recordings are under {license}"
        for source, drawn in zip(recipe.train, sources, strict=True)
        for license, count in count_licenses(source, drawn.recordings).most_common()
        if license == UNKNOWN or not any(fnmatchcase(license, pattern) for pattern in recipe.licenses)
    ]
    if faults:
        listed = "\n".join(faults)
        raise RecipeError(
            f"data.licenses allows {', '.join(recipe.licenses) or 'none'}; of the data to train on\n{listed}\n"
            "  Take the source out, state its 'license' if you know it, or make the speech again: "
            "edgeseq data synth --allow-licenses ..."
        )
