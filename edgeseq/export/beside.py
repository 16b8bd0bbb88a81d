"""Companions of a model that is being exported: chosen, checked against its tokens and each other, copied beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from edgeseq.data.manifest import find_data
from edgeseq.decoding.lexicon import known_words
from edgeseq.decoding.loading import load_beam
from edgeseq.errors import ExportError
from edgeseq.lm.model import LanguageModel
from edgeseq.model.companions import SearchDefaults
from edgeseq.model.metadata import CtcMetadata, ModelMetadata
from edgeseq.training.recipe import ExportRecipe
from edgeseq.training.weights import Trained

LEAST_KNOWN = 0.05
"""Share of the lexicon's words that the language model must know."""


def with_companions(trained: Trained, given: Mapping[str, Path], search: Mapping[str, float | None]) -> Trained:
    """Choose what goes beside the model: `given`, else what the recipe names, else what lay beside released weights.

    given: files by role. search: fields of SearchDefaults; None where the recipe's counts.
    Raises ManifestError for a file of the recipe that is not here.
    """
    recipe = trained.recipe.export
    files = {**trained.companion_files, **_named(recipe), **given}
    wanted = {one.name: (search.get(one.name), getattr(recipe, one.name)) for one in fields(SearchDefaults)}
    chosen = {name: recipes if asked is None else asked for name, (asked, recipes) in wanted.items()}
    changes: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    known = trained.search or (SearchDefaults() if "language_model" in files else None)
    return replace(trained, companion_files=files, search=None if known is None else replace(known, **changes))


def _named(recipe: ExportRecipe) -> dict[str, Path]:
    named = {"lexicon": recipe.lexicon, "language_model": recipe.lm, "guesser": recipe.guesser}
    return {role: find_data(name) for role, name in named.items() if name is not None}


def check_companions(metadata: ModelMetadata) -> None:
    """Open the companions as a device will. Raises whatever says what is wrong with them, and ExportError.

    A language model that knows hardly a word of the lexicon was made for another.
    """
    files = metadata.companion_files
    if len({path.name for path in files.values()}) < len(files):
        raise ExportError(f"two companions have the name {_double(files)}; wanted each its own, as they lie in one folder.")
    if not files:
        return
    of_words = CtcMetadata.of(metadata)
    load_beam(of_words)
    path, words = files.get("language_model"), known_words(of_words.token_table, files.get("lexicon"))
    if path is None or not words:
        return
    lm = LanguageModel(path)
    lm.check_whole()
    n_known = sum(lm.word_id(word) != lm.unknown_id for word in words)
    if lm.level == "word" and n_known < LEAST_KNOWN * len(words):
        raise ExportError(
            f"{path}: knows {n_known:,} of the {len(words):,} words of the lexicon.\n"
            f"  Build it with those words: edgeseq lm build TEXT --vocabulary {files['lexicon']} --out {path.name}"
        )


def _double(files: Mapping[str, Path]) -> str:
    names = [path.name for path in files.values()]
    return next(name for name in names if names.count(name) > 1)


def contents(files: Mapping[str, Path], folder: Path) -> dict[str, bytes]:
    """Read the companions that do not lie in `folder` yet, by their names."""
    return {path.name: path.read_bytes() for path in files.values() if not _is_there(path, folder)}


def _is_there(path: Path, folder: Path) -> bool:
    there = folder / path.name
    return there.exists() and there.samefile(path)


def link_into(folder: Path, files: Mapping[str, Path]) -> None:
    """Let a folder of graphs on trial have its companions."""
    for path in files.values():
        (folder / path.name).symlink_to(path.resolve())
