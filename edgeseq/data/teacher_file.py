"""Teachers that a small YAML file describes: any program that transcribes can label recordings.

    name: whisper-base
    licence: MIT                       # of its weights
    install: pip install faster-whisper
    command: [python3, "{here}/whisper.py", base]
    min_confidence: 0.65

A command that names {file} is run once a recording, any other is started once; `teachers` says how they answer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq.data.engine_file import is_text, placeholders
from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.untrusted import parse_yaml

PLACEHOLDERS = {
    "file": "a WAV file to transcribe: mono, 16 bit, 16 kHz",
    "here": "the folder of the teacher's file",
}
KEYS = ("name", "licence", "install", "command", "min_confidence", "seconds")

FOLDER = Path("recipes", "teachers")
"""Teachers that are known by name."""


@dataclass(frozen=True)
class Teacher:
    """A program that transcribes."""

    name: str
    licence: str
    """of the program's weights, an SPDX identifier"""
    install: str
    """the command that brings the program"""
    command: tuple[str, ...]
    """the program and its arguments, with placeholders"""
    here: Path
    """the folder of its file"""
    min_confidence: float = 0.0
    """answers below this are unsure; from 0 to 1"""
    seconds: float = 120.0
    """longest that one recording may take, loading included"""

    @property
    def once_a_file(self) -> bool:
        """Whether it is run for each recording; if not, it reads their paths on standard input."""
        return any("file" in placeholders(part) for part in self.command)

    def arguments(self, file: Path) -> list[str]:
        """Give the program and its arguments, placeholders filled in."""
        return [part.format_map({"file": str(file), "here": str(self.here)}) for part in self.command]

    def asked(self) -> dict[str, Any]:
        """Say for a journal which answers are its."""
        return {"teacher": self.name, "command": list(self.command)}


def find_teacher(name: str) -> Teacher:
    """Read a teacher by the path of its file, or by its name in `FOLDER`.

    Raises UsageError where there is none or its file has faults, MissingExtraError where its program is not installed.
    """
    teacher = read_teacher(_find_file(name))
    program = teacher.arguments(Path())[0]
    if shutil.which(program) is None:
        raise MissingExtraError(
            f"The teacher {teacher.name} needs {program}, which is not installed.\n  This brings it: {teacher.install}"
        )
    return teacher


def _find_file(name: str) -> Path:
    folders = [FOLDER, Path(__file__).parent.parent.parent / FOLDER]
    for path in (Path(name), *(folder / f"{name}.yaml" for folder in folders)):
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise UsageError(
        f"No teacher {name!r}: neither a file nor a name from {FOLDER}. Names: {', '.join(known) or 'none'}.\n"
        "  docs/data.md shows how a few lines describe one."
    )


def read_teacher(path: Path) -> Teacher:
    """Read a teacher's file. Raises UsageError that lists all its faults."""
    try:
        entry, _ = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path}: cannot be read as the description of a teacher ({fault}).") from fault
    if not isinstance(entry, dict):
        raise UsageError(f"{path}: wanted are the keys {', '.join(KEYS)}; this file holds {type(entry).__name__}.")
    return teacher_of(entry, path)


def teacher_of(entry: dict[str, Any], path: Path) -> Teacher:
    """Make a teacher of what its file `path` holds. Raises UsageError that lists all its faults."""
    if faults := list(_faults(entry)):
        raise UsageError("\n".join([f"{path}: describes no teacher:", *(f"  {fault}" for fault in faults)]))
    return Teacher(**{**entry, "command": tuple(entry["command"])}, here=path.resolve().parent)


def _faults(entry: dict[str, Any]) -> Iterator[str]:
    for key in entry:
        if key not in KEYS:
            yield f"{key!r} is not a key; known are {', '.join(KEYS)}"
    for key in ("name", "licence", "install"):
        if not is_text(entry.get(key)):
            yield f"{key!r}: a text is wanted, not {entry.get(key)!r}"
    command = entry.get("command")
    if not isinstance(command, list) or not command or not all(map(is_text, command)):
        yield f"'command': a list of texts is wanted, the program first, not {command!r}"
    else:
        yield from _template_faults(command)
    for key, most in (("min_confidence", 1.0), ("seconds", float("inf"))):
        value = entry.get(key, 1)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= most
            or (key, value) == ("seconds", 0)
        ):
            yield f"{key!r}: {'a number from 0 to 1' if most == 1 else 'a number above 0'} is wanted, not {value!r}"


def _template_faults(command: Sequence[str]) -> Iterator[str]:
    for part in command:
        try:
            part.format_map(dict.fromkeys(PLACEHOLDERS, "") if set(placeholders(part)) <= {*PLACEHOLDERS} else {})
        except (ValueError, KeyError, IndexError, AttributeError):
            yield f"{part!r} cannot be filled in; placeholders: " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
