"""Text to sentences: one per line, in the form that tokens spell."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from edgeseq.errors import LanguageModelError
from edgeseq.lm.ngrams import SPECIAL, Level, letters
from edgeseq.tokens.table import normalize_text
from edgeseq.untrusted import parse_json


def open_text(path: Path) -> BinaryIO:
    """Open a file for reading bytes; gzip by its first two bytes."""
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return cast(BinaryIO, gzip.open(path, "rb"))
    file.seek(0)
    return file


def read_sentences(path: Path, level: Level = "word") -> Iterator[list[str]]:
    """Give the units of each line that has any: words, or their letters with `▁` before each word.

    The last column of a `.tsv` line counts, and the `text` of a `.jsonl` line (a manifest); either may be gzipped.
    Raises LanguageModelError with the line's number.
    """
    kinds = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = kinds[-1] if kinds else ""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
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
