"""English numbers: their words, and the number that words say.

"twenty one", "one hundred [and] five", "three thousand", "minus two": as they are spoken, without hyphens.
"""

from __future__ import annotations

from collections.abc import Sequence as Words
from functools import cache

from edgeseq.phrases.faults import Place
from edgeseq.phrases.notation import NOTHING, Choice, Node, NumberRange, Sequence, Word

_NOWHERE = Place(1, 1)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS = ("minus", "and", "hundred", "thousand", *_ONES, *_TENS)
"""All words that numbers are spelled with."""
_SMALL = {word: number for number, word in enumerate(_ONES)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}


def number_words(number: int) -> tuple[str, ...]:
    """Spell a whole number below a million, without "and".

    >>> " ".join(number_words(-12_345))
    'minus twelve thousand three hundred forty five'
    """
    if number < 0:
        return ("minus", *number_words(-number))
    if number < 20:
        return (_ONES[number],)
    if number < 100:
        return (_TENS[number // 10 - 2], *(number_words(number % 10) if number % 10 else ()))
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number_words(number % size) if number % size else ()
    return (*number_words(number // size), name, *rest)


def number_of(words: Words[str]) -> int:
    """Give the number that words say; the words must be those of a number.

    >>> number_of("two thousand one hundred and five".split())
    2105
    """
    if words[0] == "minus":
        return -number_of(words[1:])
    total, part = 0, 0
    for word in words:
        if word == "thousand":
            total, part = total + part * 1000, 0
        elif word == "hundred":
            part *= 100
        elif word != "and":
            part += _SMALL[word]
    return total + part


def number_phrases(numbers: NumberRange) -> Node:
    """Make a phrase of all numbers of a range, as a tree that shares its parts: a million numbers take little room."""
    if numbers.step > 1:
        return _choice([_words(number_words(n)) for n in range(numbers.first, numbers.last + 1, numbers.step)])
    options: list[Node] = []
    if numbers.first < 0:
        negative = _between(max(1, -numbers.last), -numbers.first)
        options.append(Sequence((_word("minus"), negative)))
    if numbers.last >= 0:
        options.append(_between(max(0, numbers.first), numbers.last))
    return _choice(options)


@cache
def _between(first: int, last: int) -> Node:
    """Say the numbers from `first` to `last`, both included, from 0 to 999,999."""
    if last < 100:
        return _choice([_words(number_words(number)) for number in range(first, last + 1)])
    if last < 1000:
        return _by_size(first, last, 100, "hundred", (NOTHING, _word("and")))
    return _by_size(first, last, 1000, "thousand", (NOTHING, _word("and")))


def _by_size(first: int, last: int, size: int, name: str, joints: tuple[Node, ...]) -> Node:
    """Split a range into what lies below `size`, and its multiples with their rests."""
    options: list[Node] = []
    if first < size:
        options.append(_between(first, size - 1))
    full: list[int] = []
    for head in range(max(1, first // size), last // size + 1):
        low, high = max(first - head * size, 0), min(last - head * size, size - 1)
        if (low, high) == (0, size - 1):
            full.append(head)
        else:
            options.append(_headed(_words(number_words(head)), low, high, name, joints))
    if full:
        options.append(_headed(_between(full[0], full[-1]), 0, size - 1, name, joints))
    return _choice(options)


def _headed(head: Node, low: int, high: int, name: str, joints: tuple[Node, ...]) -> Node:
    """Say `head hundred` and a rest from `low` to `high`; "and" precedes only a rest below 100."""
    options: list[Node] = []
    if low == 0:
        options.append(NOTHING)
    low = max(low, 1)
    if low <= min(high, 99):
        options.append(Sequence((_choice(list(joints)), _between(low, min(high, 99)))))
    if high >= 100:
        options.append(_between(max(low, 100), high))
    return Sequence((head, _word(name), _choice(options)))


def _choice(options: list[Node]) -> Node:
    return options[0] if len(options) == 1 else Choice(tuple(options), (1.0,) * len(options))


def _words(words: tuple[str, ...]) -> Node:
    return _word(words[0]) if len(words) == 1 else Sequence(tuple(_word(word) for word in words))


def _word(text: str) -> Word:
    return Word(text, _NOWHERE)
