"""What a network is trained for, one module a task: how targets become a loss, a measure and, on the device, events.

A recipe names the module (`task: {kind: frames, ...}`). Each defines `Settings`, what a recipe may say of it, and `Task`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq.training.manifest_index import ManifestIndex
    from edgeseq.training.recipe import Recipe
    from edgeseq.training.tasks.task import Task


def kinds() -> list[str]:
    """List the tasks there are."""
    return sorted(module.name for module in iter_modules(__path__) if module.name != "task")


def _module(kind: str) -> Any:
    return import_module(f"{__name__}.{kind}")


def parse_settings(value: object) -> Any:
    """Check what a recipe says under `task`: a name, or a mapping whose `kind` is one. Raises ValueError for another."""
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or given.get("kind") not in kinds():
        seen = given.get("kind") if isinstance(given, Mapping) else given
        raise ValueError(f"there is no task {seen!r}; there are {', '.join(kinds())}")
    return _module(str(given["kind"])).Settings.model_validate(dict(given))


def prepare(recipe: Recipe, manifests: Sequence[ManifestIndex]) -> Task:
    """Make the task of a recipe for the manifests that it trains on."""
    task: Task = _module(recipe.task.kind).Task.prepare(recipe, manifests)
    return task


def restore(recipe: Recipe, details: Mapping[str, Any]) -> Task:
    """Make the task of a recipe from what `Task.details` gave. Raises ValueError where they do not fit."""
    task: Task = _module(recipe.task.kind).Task.restore(recipe, details)
    return task
