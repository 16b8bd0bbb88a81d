"""The compiled form of an n-gram model: one file that is mapped into memory and ready at once.

    16 bytes   "edgeseq ngrams 1", the last character the version
     8 bytes   length and CRC-32 of the header, unsigned 32 bits each, little-endian
    header     JSON: order, counts, numbers of the special words, and for each section its name, type, length and place
    sections   plain arrays, each at a multiple of 8 bytes

n-grams form a trie: those that continue one context are neighbours in the next table, sorted by word, so that finding one is a
binary search among the continuations alone. Sections: `word_ends` (uint32, where each word's UTF-8 ends in `word_bytes`, words
sorted by bytes), and for order n `word{n}` (the last words), `first{n}` (uint32, where each n-gram's continuations begin),
`prob{n}` and `backoff{n}`: float32, or with 16 bits evenly spaced codes between the smallest and the largest value.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import LanguageModelError, UsageError
from edgeseq.lm.arpa import children
from edgeseq.lm.compiled_header import check_header, check_sections
from edgeseq.lm.ngrams import BEGIN, END, UNKNOWN, Ngrams
from edgeseq.untrusted import parse_json, printable
from edgeseq.whole_file import write_whole

MAGIC = b"edgeseq ngrams "
VERSION = b"1"
SUFFIX = ".lm"
ALIGNMENT = 8
TYPES: dict[str, np.dtype[Any]] = {"B": np.dtype("u1"), "H": np.dtype("<u2"), "I": np.dtype("<u4"), "f": np.dtype("<f4")}
"""Types of sections, as struct and memoryview name them."""
MOST_CODE = 2**16 - 1
MOST_HEADER = 1 << 20
"""Bytes of a header; most of it is the names of the texts that were counted."""
HEADER_ALLOWANCE = 4096
"""Bytes that the header and the gaps between sections take at most."""
RARE = -30.0
"""Stand-ins for "never" (-99 of `<s>`, -100 of an unknown word) are kept out of the range of 16-bit codes."""


@dataclass(frozen=True)
class Section:
    """An array on disk."""

    type: str
    data: npt.NDArray[Any]


@dataclass(frozen=True)
class CompiledFile:
    """An open file."""

    path: Path
    header: dict[str, Any]
    sections: dict[str, memoryview]

    def checksum(self) -> int:
        """Compute the CRC-32 of all sections; the header's `checksum` if the file is whole."""
        crc = 0
        for section in self.sections.values():
            crc = zlib.crc32(section.cast("B") if section.nbytes else b"", crc)
        return crc


def write_compiled(ngrams: Ngrams, path: Path, bits: int = 32, source: str = "") -> dict[str, Any]:
    """Write a model; give its header. bits: 32 keeps values as float32, 16 rounds them (the header says by how much)."""
    if bits not in (16, 32):
        raise UsageError(f"{bits} bits a number were asked for; wanted 32 (exact) or 16 (smaller).")
    sections, scales, error = _sections(ngrams, bits)
    body, places = b"", {}
    checksum = 0
    for name, section in sections.items():
        content = section.data.astype(TYPES[section.type]).tobytes()
        places[name] = {"type": section.type, "offset": len(body), "bytes": len(content)}
        checksum = zlib.crc32(content, checksum)
        body += content + bytes(-len(content) % ALIGNMENT)
    ids = {word: number for number, word in enumerate(ngrams.vocabulary)}
    header = {
        "order": ngrams.order,
        "level": ngrams.level,
        "counts": [len(table) for table in ngrams.tables],
        "bits": bits,
        "largest_error": error,
        "scales": scales,
        "ids": {"begin": ids[BEGIN], "end": ids[END], "unknown": ids[UNKNOWN]},
        "source": source,
        "sections": places,
        "body_bytes": len(body),
        "checksum": checksum,
    }
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-(len(MAGIC) + 9 + len(text)) % ALIGNMENT)
    write_whole(path, MAGIC + VERSION + struct.pack("<II", len(text), zlib.crc32(text)) + text + body)
    return header


def ngram_bytes(order: int, n_vocabulary: int, bits: int) -> list[int]:
    """Tell how many bytes an n-gram of each length takes in the compiled file of a model, its words' letters aside."""
    number, word = bits // 8, 2 if n_vocabulary <= MOST_CODE else 4
    return [number + (word if length > 1 else 4) + (number + 4 if length < order else 0) for length in range(1, order + 1)]


def file_bytes(counts: Sequence[int], vocabulary: Sequence[str], bits: int) -> int:
    """Tell how large the compiled file of a model will be at most: bytes, from the number of n-grams of each order."""
    sizes = ngram_bytes(len(counts), len(vocabulary), bits)
    letters = sum(len(word.encode()) for word in vocabulary)
    return HEADER_ALLOWANCE + letters + sum(count * size for count, size in zip(counts, sizes, strict=True))


def _sections(ngrams: Ngrams, bits: int) -> tuple[dict[str, Section], dict[str, list[float]], float]:
    words = [word.encode() for word in ngrams.vocabulary]
    small = len(words) <= MOST_CODE
    sections = {
        "word_ends": Section("I", np.cumsum([len(word) for word in words])),
        "word_bytes": Section("B", np.frombuffer(b"".join(words), dtype=np.uint8)),
    }
    scales: dict[str, list[float]] = {}
    errors = [0.0]
    for order, table in enumerate(ngrams.tables, start=1):
        if order > 1:
            sections[f"word{order}"] = Section("H" if small else "I", table.word)
        values = {f"prob{order}": table.log10_prob}
        if order < ngrams.order:
            sections[f"first{order}"] = Section("I", children(ngrams.tables[order - 1 : order + 1])[0])
            values[f"backoff{order}"] = table.log10_backoff
        for name, numbers in values.items():
            if bits == 32:
                sections[name] = Section("f", numbers)
            else:
                sections[name], scales[name], error = _coded(numbers)
                errors.append(error)
    return sections, scales, max(errors)


def _coded(values: npt.NDArray[np.float64]) -> tuple[Section, list[float], float]:
    """Round to evenly spaced codes; give them, the smallest value and the step, and the largest error."""
    usual = values[values > RARE]
    low, high = (float(usual.min()), float(usual.max())) if len(usual) else (0.0, 0.0)
    step = (high - low) / MOST_CODE or 1.0
    codes = np.rint((np.clip(values, low, high) - low) / step)
    error = float(np.abs(low + codes * step - values)[values > RARE].max(initial=0.0))
    return Section("H", codes), [low, step], error


def open_compiled(path: Path) -> CompiledFile:
    """Map a compiled model into memory.

    Raises LanguageModelError for another file, another version, and one that is damaged or cut short: whatever leads out of a
    section or is not a probability is refused here (the checksum itself is left to `edgeseq lm info`).
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 9)
        if start[: len(MAGIC)] != MAGIC:
            raise LanguageModelError(
                f"{path}: not a compiled language model; wanted one that `edgeseq lm build` or `edgeseq lm compile` wrote.\n"
                f"  From an ARPA file: edgeseq lm compile {path} --out {path.with_suffix(SUFFIX)}"
            )
        if start[len(MAGIC) : len(MAGIC) + 1] != VERSION or len(start) < len(MAGIC) + 9:
            version = start[len(MAGIC) :][:1].decode("ascii", errors="replace")
            raise LanguageModelError(
                f"{path}: format version {version!r}; this edgeseq reads {VERSION.decode()!r}.\n  Compile the model again."
            )
        n_header, crc = struct.unpack("<II", start[-8:])
        size = os.fstat(file.fileno()).st_size
        text = file.read(min(n_header, MOST_HEADER))
        if len(text) < n_header or zlib.crc32(text) != crc:
            raise LanguageModelError(f"{path}: the header is damaged or cut short.\n  Copy it again, or compile it again.")
        offset = len(start) + n_header
        header = _read_header(path, text)
        if size != offset + header["body_bytes"]:
            raise LanguageModelError(
                f"{path}: {size:,} bytes; wanted {offset + header['body_bytes']:,}.\n  Copy it again, or compile it again."
            )
        body = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[offset:]
    sections = {name: _view(body, place) for name, place in header["sections"].items()}
    try:
        check_sections(header, sections)
    except ValueError as fault:
        raise _damaged(path, fault) from fault
    return CompiledFile(path, header, sections)


def _read_header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text)
        check_header(header)
    except ValueError as fault:
        raise _damaged(path, fault) from fault
    return {**header, "source": printable(header["source"])}  # it is shown


def _damaged(path: Path, fault: ValueError) -> LanguageModelError:
    return LanguageModelError(
        f"{path}: damaged, or not written by `edgeseq lm`: {fault}.\n  Copy it again, or compile it again."
    )


def _view(body: memoryview, place: dict[str, Any]) -> memoryview:
    view = body[place["offset"] : place["offset"] + place["bytes"]]
    return view.cast(place["type"])
