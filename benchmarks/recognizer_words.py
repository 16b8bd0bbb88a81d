"""Normalizes the texts of different recognizers: words in lower case, without punctuation, numbers spelled.

A figure can be spoken in several ways (1977 is nineteen seventy seven, a telephone number is digits). The reading nearest to
the reference counts, so that a recognizer that writes figures, or "Mr.", has no disadvantage.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgeseq.data.corpora import only_words
from edgeseq.evaluation.evaluate import word_edits
from edgeseq.phrases.numbers import number_words
from edgeseq.tokens.table import normalize_text

LARGEST = 999_999_999
"""Longer figures are read digit by digit."""
SIGNS = {"%": " percent ", "&": " and ", "+": " plus ", "\N{DEGREE SIGN}": " degrees "}
MONEY = {"$": "dollars", "£": "pounds", "€": "euros"}
ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "ok": "okay", "vs": "versus"}
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MARKED = re.compile(r"(\d+)(st|nd|rd|th)?")

Reading = Callable[[str], list[str]]


def read_number(figures: str) -> list[str]:
    """Read figures as a number.

    >>> read_number("1977"), read_number("007")
    (['one', 'thousand', 'nine', 'hundred', 'seventy', 'seven'], ['zero', 'zero', 'seven'])
    """
    number = int(figures)
    return read_digits(figures) if number > LARGEST or figures[0] == "0" else list(number_words(number))


def read_digits(figures: str) -> list[str]:
    """Read figures one by one.

    >>> read_digits("42")
    ['four', 'two']
    """
    return [word for digit in figures for word in number_words(int(digit))]


def read_pairs(figures: str) -> list[str]:
    """Read four figures as a year, others as a number.

    >>> read_pairs("1977"), read_pairs("1905"), read_pairs("1800")
    (['nineteen', 'seventy', 'seven'], ['nineteen', 'oh', 'five'], ['eighteen', 'hundred'])
    """
    if len(figures) != 4 or figures[0] == "0" or figures[1:3] == "00":
        return read_number(figures)
    first, last = int(figures[:2]), int(figures[2:])
    tail = ["hundred"] if not last else (["oh"] if last < 10 else []) + list(number_words(last))
    return [*number_words(first), *tail]


READINGS: tuple[Reading, ...] = (read_number, read_pairs, read_digits)


def spelled(text: str, read: Reading = read_number) -> str:
    """Bring a text into the form that is compared.

    >>> spelled("Mr. Smith's twenty-two dogs ate 5% of $1,200 on the 21st!")
    "mister smith's twenty two dogs ate five percent of one thousand two hundred dollars on the twenty first"
    """
    text = re.sub(r"([$£€])(\d[\d,]*)", lambda found: f"{found[2]} {MONEY[found[1]]}", text)
    text = re.sub(r"(?<=\d),(?=\d\d\d)", "", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", " point ", text)
    for sign, said in SIGNS.items():
        text = text.replace(sign, said)
    words = normalize_text(only_words(text)).replace("-", " ").split()
    return " ".join(part for word in words for part in _spelled_word(word, read))


def count_errors(reference: str, heard: str) -> tuple[int, int]:
    """Count the words that are wrong, by the reading of figures that is nearest to the reference; and the reference's words.

    >>> count_errors("it was nineteen seventy seven", "It was 1977."), count_errors("call five five two", "Call 5-5-2, please!")
    ((0, 5), (1, 4))
    """
    said = spelled(reference)
    return min(len(word_edits(said, spelled(heard, read))) for read in READINGS), len(said.split())


def _spelled_word(word: str, read: Reading) -> list[str]:
    found = MARKED.fullmatch(word)
    if found is None or not word.isascii():
        return [ABBREVIATIONS.get(word, word)]
    return _ordinal(read_number(found[1])) if found[2] else read(found[1])


def _ordinal(words: list[str]) -> list[str]:
    *first, last = words
    if last in ORDINALS:
        return [*first, ORDINALS[last]]
    return [*first, f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"]
