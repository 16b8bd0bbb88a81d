"""The compared recognizers: programs that start once, read the path of one WAV file per line and answer each.

A YAML file in benchmarks/peers describes each, as recipes/teachers describes teachers, with three more keys: `streaming` (it
writes words while somebody speaks), `files` (patterns of the model's files, for their size) and `recordings` (the number after
which it is restarted, for a program whose memory grows). Besides the teachers' placeholders there are {models}, the folder of
--models, and {packages}, the folder of --python's packages. A command that begins with python3 is run by --python.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from edgeseq.data.engine_file import is_text
from edgeseq.data.teacher_file import Teacher, teacher_of
from edgeseq.errors import UsageError
from edgeseq.models import find_model
from edgeseq.untrusted import parse_yaml

FOLDER = Path(__file__).parent / "peers"
EDGESEQ = "edgeseq"
COMPANIONS = ("*.lexicon", "*.lm", "*.guesser")
"""Beside a model of edgeseq: what it runs with."""
SECONDS = 600.0
"""Longest that one recording may take: minutes of noise on a busy machine."""


@dataclass(frozen=True)
class Peer:
    """One recognizer."""

    teacher: Teacher
    """how it is started"""
    streaming: bool
    """it writes words while somebody speaks"""
    files: tuple[Path, ...]
    """its model"""
    shown: tuple[str, ...]
    """its command as its file has it, without paths of this machine"""
    recordings: int | None = None
    """It is started again after that many, for a program whose memory grows with each; None: never."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.teacher.name

    @property
    def files_mb(self) -> float:
        """Size of its model, 10^6 bytes."""
        return sum(path.stat().st_size for path in self.files) / 1e6

    def asked(self) -> dict[str, Any]:
        """Say which answers are its: the command, and what the files hold. Its program is one of them."""
        programs = [Path(part) for part in self.teacher.arguments(Path()) if part.endswith(".py")]
        digests = {path.name: _sha256(path) for path in (*programs, *self.files)}
        return {"command": list(self.shown), "files": dict(sorted(digests.items()))}


@dataclass(frozen=True)
class Places:
    """Where peers are installed."""

    python: Path
    """the Python that has their packages"""
    models: Path
    """a folder of models that no package holds"""

    def fill(self, text: str) -> str:
        """Fill {models} and {packages} in."""
        filled = text.replace("{models}", str(self.models.resolve()))
        return filled.replace("{packages}", _packages(self.python)) if "{packages}" in filled else filled


def known_peers() -> list[str]:
    """List the names that `find_peer` knows."""
    return [EDGESEQ, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def find_peer(name: str, places: Places) -> Peer:
    """Read a peer by the path of its file or its name in `FOLDER`. Raises UsageError where there is none."""
    for path in (Path(name), FOLDER / f"{name}.yaml"):
        if path.is_file():
            return read_peer(path, places)
    raise UsageError(f"No peer {name!r}: neither a file nor a known name. Known are: {', '.join(known_peers())}.")


def read_peer(path: Path, places: Places) -> Peer:
    """Read a peer's file. Raises UsageError that says what is wrong with it."""
    try:
        entry, _ = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path}: cannot be read as the description of a peer ({fault}).") from fault
    if not isinstance(entry, dict):
        raise UsageError(f"{path}: describes no peer: keys and values are wanted, not {type(entry).__name__}.")
    streaming, patterns = entry.pop("streaming", None), entry.pop("files", [])
    if not isinstance(streaming, bool):
        raise UsageError(f"{path}: 'streaming': true or false is wanted, not {streaming!r}.")
    recordings = entry.pop("recordings", None)
    if recordings is not None and (type(recordings) is not int or recordings < 1):
        raise UsageError(f"{path}: 'recordings': a number from 1 is wanted, not {recordings!r}.")
    if not isinstance(patterns, list) or not all(map(is_text, patterns)):
        raise UsageError(f"{path}: 'files': a list of patterns is wanted, not {patterns!r}.")
    shown = entry.get("command")
    if isinstance(shown, list):
        entry["command"] = [places.fill(part) if isinstance(part, str) else part for part in shown]
    teacher = teacher_of(entry, path)
    if teacher.once_a_file:
        raise UsageError(
            f"{path}: its command names {{file}}. A peer is started once and reads paths, so that loading is apart."
        )
    if teacher.command[0] == "python3":
        teacher = replace(teacher, command=(str(places.python), *teacher.command[1:]))
    files = tuple(file for pattern in patterns for file in _matches(places.fill(pattern)))
    return Peer(replace(teacher, seconds=max(teacher.seconds, SECONDS)), streaming, files, tuple(shown or ()), recordings)


def edgeseq_peer(model: str, phrases: Path | None = None) -> Peer:
    """Make edgeseq with a model a peer like the others. Raises UsageError where there is no such model."""
    file = find_model(model)
    companions = sorted(one for pattern in COMPANIONS for one in file.parent.glob(pattern))
    shown = ("python3", "{here}/with_edgeseq.py", file.parent.name, *([phrases.name] if phrases else []))
    command = (sys.executable, "{here}/with_edgeseq.py", str(file), *([str(phrases)] if phrases else []))
    name = f"{EDGESEQ} {file.parent.name}" + (f", {phrases.stem}" if phrases else "")
    teacher = Teacher(name, "see its card", "make base", command, FOLDER, seconds=SECONDS)
    return Peer(teacher, True, (file, *companions), shown)


def why_missing(peer: Peer) -> str:
    """Say why a peer cannot be started; "" where nothing is known to be missing."""
    program = peer.teacher.arguments(Path())[0]
    return "" if shutil.which(program) else f"{program} is not installed"


def _matches(pattern: str) -> Iterator[Path]:
    root = Path(pattern).anchor
    found = Path(root or ".").glob(pattern.removeprefix(root))
    return iter(sorted(path for path in found if path.is_file()))


@cache
def _packages(python: Path) -> str:
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as fault:
        raise UsageError(f"{python}: cannot be run as Python ({fault}). Name another --python.") from fault


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
