"""Sequences of symbols and of values as arrays."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError
from edgeseq.model.signature import IDS, Array, Port


def read_sequence(recording: Recording, port: Port) -> Array:
    """Read what a graph takes at `port`: int64 `[n_units]` (its names are symbols), or float32 `[n_units, n_channels]`.

    Raises ManifestError for what cannot be read, for symbols and columns that the port does not name, and for another rate.
    """
    units = recording.units
    if units is None or units.kind != port.name:
        seen = "sound" if units is None else units.kind
        raise ManifestError(f"{recording.where}: holds {seen}; the model takes '{port.name}'.")
    if port.rate is not None and units.rate != port.rate:
        raise ManifestError(
            f"{recording.where}: has {units.rate:g} units a second, and the model takes {port.rate:g}.\n"
            "  Say 'rate' in its line, or input.rate in the recipe, so that both agree."
        )
    try:
        found = _content(recording, port)
        array = _as_ids(found, port.names) if port.name == IDS else _as_values(found, port.shape[0])
    except (OSError, ValueError) as fault:
        raise ManifestError(f"{recording.where}: {fault}.") from None
    return array if units.content is not None else _stretch(array, recording, units.rate)


def _content(recording: Recording, port: Port) -> Any:
    """Give a text, a sequence or an array."""
    assert recording.units is not None, "asked before"
    if recording.units.content is not None:
        return recording.units.content
    if recording.path.suffix == ".npy":
        return np.load(recording.path, allow_pickle=False)
    if recording.path.suffix == ".csv":
        return _read_columns(recording.path, port.names)
    return recording.path.read_text(encoding="utf-8")


def _read_columns(path: Path, names: tuple[str, ...]) -> Array:
    """Read the columns of these names, which the first line of a CSV file gives; float64 `[n_units, n_channels]`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [name.strip() for name in next(lines, [])]
        missing = [name for name in names if name not in header]
        if missing:
            raise ValueError(f"has no column {missing[0]!r}; its first line names {', '.join(header)[:200]}")
        columns = [header.index(name) for name in names]
        return np.array([[_number(line, column, lines.line_num) for column in columns] for line in lines if line])


def _number(line: list[str], column: int, number: int) -> float:
    try:
        return float(line[column])
    except (ValueError, IndexError):
        seen = repr(line[column][:40]) if column < len(line) else "nothing"
        raise ValueError(f"line {number} has {seen} in column {column + 1}; a number is wanted") from None


def _as_ids(found: Any, symbols: tuple[str, ...]) -> Array:
    if isinstance(found, str) or (len(found) and isinstance(found[0], str)):
        by_symbol = {symbol: number for number, symbol in enumerate(symbols)}
        unknown = next((symbol for symbol in found if symbol not in by_symbol), None)
        if unknown is not None:
            raise ValueError(f"holds the symbol {unknown!r}, which is none of the {len(symbols)} of the model (input.symbols)")
        return np.array([by_symbol[symbol] for symbol in found], dtype=np.int64)
    ids = np.asarray(found)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"holds {ids.dtype} of shape {list(ids.shape)}; whole numbers in one dimension are wanted")
    ids = ids.astype(np.int64)
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(symbols):
        raise ValueError(f"holds numbers from {ids.min()} to {ids.max()}; the model knows symbols 0 to {len(symbols) - 1}")
    return ids


def _as_values(found: Any, n_channels: int) -> Array:
    values = np.asarray(found)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != n_channels or values.dtype.kind not in "fiu":
        raise ValueError(f"holds {values.dtype} of shape {list(values.shape)}; numbers [n_units, {n_channels}] are wanted")
    if not np.isfinite(values).all():
        raise ValueError(f"the values of unit {int(np.argmin(np.isfinite(values).all(axis=1))):,} are not all numbers")
    return values.astype(np.float32)


def _stretch(array: Array, recording: Recording, rate: float) -> Array:
    """Cut the stretch of a file that a line names."""
    first, n_units = round(recording.offset * rate), round(recording.duration * rate)
    if first + n_units > len(array):
        raise ManifestError(f"{recording.where}: ends at unit {len(array):,}; the line promises {first + n_units:,}.")
    return array[first : first + n_units].copy()
