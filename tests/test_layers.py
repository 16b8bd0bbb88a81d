"""Imports go one way: from the rooms that use to the rooms that are used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = [
    *("events", "errors", "untrusted", "whole_file"),
    *("sound", "output"),
    *("tokens", "lm", "model", "decoding", "phrases", "stream", "models"),
    *("data", "evaluation"),
    *("training", "export", "report"),
    *("serve", "bench", "cli", "__main__"),
]
"""Rooms and modules of edgeseq/, in the order of docs/architecture.md: each imports only itself and what stands before it."""
TRAINING = {"training", "export", "report"}
DEVICE = LAYERS[: LAYERS.index("data")]
"""What a board runs."""
MOST_ENTRIES = 24


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """All that a file imports anywhere, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(name: str) -> str | None:
    """`edgeseq.sound.audio` -> `sound`; None of names that edgeseq itself has, or others have."""
    parts = name.split(".")
    return parts[1] if parts[0] == "edgeseq" and parts[1:] and parts[1] in LAYERS else None


@cache
def arrows() -> list[tuple[str, str]]:
    return list(find_arrows())


def find_arrows() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "edgeseq").rglob("*.py")):
        if room(module_name(path)) is not None:
            for target in imported(path):
                if room(target) is not None:
                    yield module_name(path), target


def test_every_room_has_its_layer():
    entries = {p.stem for p in (ROOT / "edgeseq").iterdir() if p.name not in {"__pycache__", "__init__.py", "released"}}
    assert entries == set(LAYERS)
    assert len(entries) <= MOST_ENTRIES


def test_imports_go_one_way():
    there = arrows()
    assert len(there) > 500  # the test sees imports at all
    assert [(a, b) for a, b in there if LAYERS.index(str(room(b))) > LAYERS.index(str(room(a)))] == []


def test_a_board_runs_nothing_of_training_and_nothing_imports_the_command_line():
    there = arrows()
    assert [(a, b) for a, b in there if room(a) in DEVICE and room(b) in TRAINING] == []
    assert [(a, b) for a, b in there if room(b) == "cli" and room(a) not in {"cli", "__main__"}] == []


def test_no_module_of_the_package_needs_a_checkout():
    names = {target.partition(".")[0] for path in (ROOT / "edgeseq").rglob("*.py") for target in imported(path)}
    assert not names & {"benchmarks", "tests"}
