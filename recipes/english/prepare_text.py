"""Free text to sentences for a language model: one a line, lower case, only a to z and apostrophes, numbers spelled.

    python recipes/english/prepare_text.py BOOKS... --out books.txt --keep-out dev.txt test.txt

Each argument is a folder or a file: `.txt` (books), `.cnxml` (textbooks), `.json`, `.jsonl`, `.csv`, `.tsv` (utterances). A
book that shares ten or more runs of eight words with the texts of --keep-out is left out whole: they were read from it.
Needs edgeseq alone.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgeseq.phrases.numbers import number_words

RUN = 8
"""Words in a row that are compared with texts kept out."""
MOST_RUNS = 9
"""A file that shares more of them is left out."""
SENTENCE_END = re.compile(r"""(?<=[.!?])["'”’)\]]*\s+(?=["'“‘(\[]*[A-Z0-9])|\s*[;:]\s+|--+|—""")
TITLES = {
    "Mr.": "Mister", "Mrs.": "Missus", "Dr.": "Doctor", "St.": "Saint", "Messrs.": "Messieurs", "Capt.": "Captain",
    "Col.": "Colonel", "Gen.": "General", "Lieut.": "Lieutenant", "Rev.": "Reverend", "Prof.": "Professor",
    "Hon.": "Honorable", "Esq.": "Esquire", "Sr.": "Senior", "Jr.": "Junior", "etc.": "et cetera", "&c.": "et cetera",
    "vs.": "versus", "i.e.": "that is", "e.g.": "for example", "No.": "number", "U.S.": "U S", "U.K.": "U K",
}  # fmt: skip
TITLE = re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, TITLES)) + ")")
INITIAL = re.compile(r"\b([A-Z])\.(?=[\s,A-Z])")
NUMBER = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d{1,6})(st|nd|rd|th|s|%)?(?![\w])")
ROMAN = re.compile(r"\b(?:[IVXLC]{2,})\b")
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


def number_spelled(match: re.Match[str]) -> str:
    """Spell a number as it is read out: 1851 as a year, 3rd as an ordinal, 45% as percent; others by their words."""
    number, ending = int(match[1].replace(",", "")), match[2] or ""
    words = list(number_words(number))
    if (1100 <= number < 2000 or 2010 <= number < 2100) and "," not in match[1] and number % 100 >= 10:
        words = [*number_words(number // 100), *number_words(number % 100)]
    elif (1100 <= number < 2000) and "," not in match[1]:
        ones = [] if number % 100 == 0 else ["o", *number_words(number % 100)]
        words = [*number_words(number // 100), *(ones or ["hundred"])]
    if ending == "%":
        words.append("percent")
    elif ending == "s":
        words[-1] = words[-1][:-1] + "ies" if words[-1].endswith("y") else words[-1] + "s"
    elif ending:
        last = words[-1]
        words[-1] = ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join(words)


def clean(sentence: str) -> str:
    """Give a sentence in the form that models spell; empty where it holds what nobody can read out for certain."""
    if ROMAN.search(sentence) or re.search(r"[$£€=+*/\\@<>^|{}~]|https?:|www\.", sentence):
        return ""
    text = NUMBER.sub(number_spelled, sentence).replace("&", " and ")
    text = unicodedata.normalize("NFKD", text.replace("’", "'").replace("æ", "ae").replace("œ", "oe")).lower()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = re.sub(r"[^a-z'0-9]+", " ", text)
    words = [word.strip("'") for word in text.split()]
    words = [word for word in words if word]
    if len(words) < 2 or any(re.search(r"\d", word) for word in words):
        return ""
    return " ".join(words)


def sentences(paragraph: str) -> Iterator[str]:
    """Cut a paragraph where a reader would pause for long, and clean the pieces."""
    text = TITLE.sub(lambda match: TITLES[match[0]], " ".join(paragraph.split()))
    for piece in SENTENCE_END.split(INITIAL.sub(r"\1", text)):
        if cleaned := clean(piece or ""):
            yield cleaned


def book(text: str) -> Iterator[str]:
    """Give the paragraphs of a plain text, without headings and without Project Gutenberg's own words."""
    start = re.search(r"\*\*\* ?START OF .*?\*\*\*", text)
    end = re.search(r"\*\*\* ?END OF|End of (?:the )?Project Gutenberg", text)
    text = text[start.end() if start else 0 : end.start() if end else None].replace("_", "")
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if re.search("[a-z]", line) and not re.match(r"\s*CHAPTER", line)]
        yield " ".join(lines)


def textbook(text: str) -> Iterator[str]:
    """Give the paragraphs of a CNXML module; those with formulas or links to other places are left out."""
    for paragraph in re.findall(r"<para\b[^>]*>(.*?)</para>", text, flags=re.DOTALL):
        if not re.search(r"<(m:math|link url|equation)", paragraph):
            yield html.unescape(re.sub(r"\(<link[^>]*/>\)|<[^>]+>", "", paragraph))


def utterances(value: Any) -> Iterator[str]:
    """Give the sentences of JSON data: texts of any key that names one, and lists of labelled pieces joined."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), list) and all("text" in piece for piece in value["data"]):
            yield "".join(piece["text"] for piece in value["data"])
            return
        for key, part in value.items():
            if key in ("text", "sentence") and isinstance(part, str):
                yield re.sub(r"<[^>]+>", " ", part)
            elif isinstance(part, (dict, list)) and key != "tokens":
                yield from utterances(part)
    elif isinstance(value, list):
        if len(value) == 2 and all(isinstance(part, str) for part in value):
            yield value[0]
        else:
            for part in value:
                yield from utterances(part)


def paragraphs(path: Path) -> Iterator[str]:
    """Read a file by its kind."""
    text = html.unescape(path.read_bytes().decode("utf-8", errors="replace")) if path.suffix != ".cnxml" else path.read_text()
    if path.suffix == ".cnxml":
        yield from textbook(text)
    elif path.suffix == ".json":
        yield from utterances(json.loads(text))
    elif path.suffix == ".jsonl":
        yield from (one for line in text.splitlines() if line for one in utterances(json.loads(line)))
    elif path.suffix in (".csv", ".tsv"):
        yield from (re.split(r",(?=[^,]*$)|\t", line)[0].strip('"') for line in text.splitlines())
    else:
        yield from book(text)


def runs(lines: Iterable[str]) -> set[tuple[str, ...]]:
    """Collect all runs of eight words within lines."""
    found = set()
    for line in lines:
        words = line.split()
        found.update(tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1))
    return found


def main() -> None:
    """Write the sentences of all files, those of books that are kept out excepted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--keep-out", nargs="*", type=Path, default=[], help="texts on which the model is judged")
    options = parser.parse_args()
    judged = [line for path in options.keep_out for line in path.read_text().lower().splitlines()]
    kept_out, whole = runs(judged), set(judged)
    files = [file for one in options.sources for file in (sorted(one.rglob("*")) if one.is_dir() else [one]) if file.is_file()]
    seen: set[str] = set()
    n_sentences = n_words = 0
    with options.out.open("w") as out:
        for file in files:
            found = list(dict.fromkeys(line for part in paragraphs(file) for line in sentences(part)))
            shared = len(runs(found) & kept_out)
            if shared > MOST_RUNS:
                print(f"left out: {file} (shares {shared} runs of {RUN} words)")
                continue
            new = [line for line in found if line not in whole and (len(line) < 40 or line not in seen)]
            seen.update(line for line in new if len(line) >= 40)
            out.writelines(line + "\n" for line in new)
            n_sentences += len(new)
            n_words += sum(line.count(" ") + 1 for line in new)
    print(f"{options.out}: {n_sentences:,} sentences, {n_words:,} words of {len(files)} files")


if __name__ == "__main__":
    main()
