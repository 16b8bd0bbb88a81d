"""Faults of phrase files: where, what was seen, what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseq.errors import EdgeseqError

MAX_FAULTS = 20
"""Faults of one file that a message lists; the rest is counted."""


@dataclass(frozen=True, order=True)
class Place:
    """A character of a phrase file, counted as editors do."""

    line: int
    """from 1"""
    column: int
    """from 1, in characters"""

    def __str__(self) -> str:
        """Give the usual form, `line:column`."""
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong with a phrase file."""

    place: Place
    message: str

    def __str__(self) -> str:
        """Give place and message."""
        return f"{self.place}: {self.message}"


class PhraseError(EdgeseqError):
    """A phrase file has faults; the message lists all of them. The command ends with exit code 2."""

    exit_code = 2

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        """Collect the faults of the file (or text) `name`."""
        self.name = name
        self.faults = tuple(sorted(set(faults)))
        shown = "\n".join(f"  {name}:{fault}" for fault in self.faults[:MAX_FAULTS])
        n_more = len(self.faults) - MAX_FAULTS
        more = f"\n  ... and {n_more} more" if n_more > 0 else ""
        super().__init__(f"{len(self.faults)} fault{'s' * (len(self.faults) != 1)} in {name}:\n{shown}{more}")
