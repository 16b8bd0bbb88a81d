"""The names and numbers of alphanumeric-audio-dataset as a table that `edgeseq data import folder` reads.

    python recipes/english/spelled_table.py alphanumeric-audio-dataset

Writes train.csv into the data set's folder: names spelled letter by letter, telephone numbers digit by digit, as the prompts
asked for them. Addresses, which everybody said in their own way, are left out. Needs Python alone.
"""

from __future__ import annotations

import csv
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLUMNS = ("path", "text", "speaker", "age", "gender")


def spelled(prompt: str) -> str:
    """Spell a name or a number: "Al 07" is "a l zero seven"."""
    plain = unicodedata.normalize("NFD", prompt.lower())
    letters = (letter for letter in plain if letter.isascii() and letter.isalnum())
    return " ".join(DIGITS[int(letter)] if letter.isdecimal() else letter for letter in letters)


def table_rows(metadata: Iterator[Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """Give the rows of the table."""
    for row in metadata:
        kind = Path(row["file_name"]).parent.name
        if kind in ("Names", "Numbers"):
            text = spelled(row[kind.removesuffix("s")])
            yield row["file_name"], text, row["Response_ID"], row["Age"], row["Gender"].lower()


def main() -> None:
    """Write the table."""
    if len(sys.argv) != 2 or not (source := Path(sys.argv[1]) / "metadata.csv").is_file():
        sys.exit("Wanted: python recipes/english/spelled_table.py FOLDER, which holds metadata.csv and audio_data/")
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = [*table_rows(csv.DictReader(file))]
    table = source.with_name("train.csv")
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    print(f"{table}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
