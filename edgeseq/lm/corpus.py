"""Text to sentences: one per line, in the form that tokens spell."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from edgeseq.errors import LanguageModelError
from edgeseq.lm.ngrams import SPECIAL, Level, letters
from edgeseq.tokens.table import normalize_text
from edgeseq.untrusted import parse_json

DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a gzipped file raises that is not whole."""


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a file, gzipped or not by its first two bytes, with their numbers.

    Raises LanguageModelError where a gzipped file is damaged or breaks off.
    """
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if is_gzip else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except DAMAGED_GZIP:
        message = f"{path}:{number + 1}: the gzipped file is damaged or breaks off here.\n  Copy it again."
        raise LanguageModelError(message) from None


def read_sentences(path: Path, level: Level = "word") -> Iterator[list[str]]:
    """Give the units of each line that has any: words, or their letters with `▁` before each word.

    The last column of a `.tsv` line counts, and the `text` of a `.jsonl` line (a manifest); either may be gzipped.
    Raises LanguageModelError with the line's number.
    """
    kinds = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = kinds[-1] if kinds else ""
    for number, line in read_lines(path):
        words = normalize_text(_text(_decode(line, path, number), kind, path, number)).split()
        special = sorted({word for word in words if word in SPECIAL})
        if special:
            raise LanguageModelError(
                f"{path}:{number}: the text holds {', '.join(special)}, which a language model uses itself.\n"
                "  Leave such marks out; every line is a sentence anyway."
            )
        if words:
            yield words if level == "word" else letters(words)


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        raise LanguageModelError(
            f"{path}:{number}: byte {fault.start + 1} of the line is not UTF-8; wanted text in UTF-8.\n"
            "  Convert it: iconv -f latin1 -t utf-8"
        ) from fault


def _text(line: str, kind: str, path: Path, number: int) -> str:
    if kind == ".tsv":
        return line.rsplit("\t", 1)[-1]
    if kind != ".jsonl":
        return line
    try:
        text = parse_json(line)["text"] if line.strip() else ""
    except (ValueError, KeyError, TypeError) as fault:
        raise LanguageModelError(
            f'{path}:{number}: not an object with "text"; wanted a manifest, one JSON object a line.'
        ) from fault
    return str(text)
