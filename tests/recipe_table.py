"""The keys of a recipe as a table, read from edgeseq/training/recipe.py; `make docs` writes it into docs/training.md."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from edgeseq.training import recipe, recipe_file
from edgeseq.training.input_recipe import KINDS, FrontendRecipe

BEGIN = "<!-- recipe keys: written by `make docs` -->"
END = "<!-- end of recipe keys -->"


def table() -> str:
    """Every key with its default and what is said of it."""
    rows = ["| key | default | meaning |", "|---|---|---|", *_rows(recipe.Recipe, "")]
    return "\n".join(rows)


def put_into(text: str) -> str:
    """A document with the table between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def _rows(part: type[BaseModel], prefix: str):
    notes = _notes(part)
    for name, field in part.model_fields.items():
        inner = recipe_file._part_within(field.annotation) if "Recipe" in str(field.annotation) else None
        if inner is None:
            default = "(needed)" if field.is_required() else f"`{_shown(field.default)}`"
            yield f"| `{prefix}{name}` | {default} | {notes.get(name, '')} |"
        else:
            for one in [inner] if inner is not FrontendRecipe else KINDS.values():
                kind = "" if one is inner else f", of the kind `{one.__name__.removesuffix('Recipe').lower()}`"
                yield f"| `{prefix}{name}`{kind} | | {_first_sentence(one)} |"
                yield from _rows(one, f"{prefix}{name}{'[]' if 'tuple' in str(field.annotation) else ''}.")


def _shown(value: object) -> str:
    return json.dumps(value) if not isinstance(value, float) else f"{value:g}"


def _first_sentence(part: type[BaseModel]) -> str:
    return inspect.getdoc(part).splitlines()[0].removesuffix(".")


def _notes(part: type[BaseModel]) -> dict[str, str]:
    """What stands below each field."""
    bodies = [ast.parse(inspect.getsource(one)).body[0].body for one in part.__mro__ if one.__module__.startswith("edgeseq")]
    pairs = [pair for body in reversed(bodies) for pair in itertools.pairwise(body)]
    return {
        field.target.id: re.sub(r"\s+", " ", note.value.value).replace("|", "or")
        for field, note in pairs
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)
    }


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(put_into(path.read_text(encoding="utf-8")), encoding="utf-8")
