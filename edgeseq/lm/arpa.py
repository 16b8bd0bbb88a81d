"""ARPA files: the text form of n-gram models that KenLM, SRILM and lmplz write.

After `\\data\\` come the counts of each order, then a section an order, whose lines are log10 probability, words and (but in
the longest order) log10 backoff; `\\end\\` closes the file.
"""

from __future__ import annotations

import gzip
import math
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from edgeseq.errors import LanguageModelError
from edgeseq.lm.corpus import read_lines
from edgeseq.lm.ngrams import BEGIN, END, MAX_ORDER, UNKNOWN, Ngrams, OrderTable
from edgeseq.lm.tables import Finder
from edgeseq.tokens.table import normalize_text

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

UNKNOWN_MISSING = -100.0
"""log10 probability of a word that a model without `<unk>` does not know, as KenLM takes it."""

MOST_NGRAMS = 2**32 - 2
"""n-grams of one order; the compiled file numbers them by 32 bits."""


@dataclass
class _Section:
    """The n-grams of one order, as they come."""

    order: int
    log10_prob: array[float] = field(default_factory=lambda: array("d"))
    words: array[int] = field(default_factory=lambda: array("i"))
    log10_backoff: array[float] = field(default_factory=lambda: array("d"))
    line: array[int] = field(default_factory=lambda: array("q"))


class _Lines:
    """Lines of a file, numbered, stripped, blank ones left out; one may be looked at before it is taken."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self._lines = self._read(path)
        self.line: str | None = next(self._lines, None)

    def advance(self) -> None:
        self.line = next(self._lines, None)

    def fail(self, fault: str, hint: str = "Write the file again with the program that made it.") -> NoReturn:
        raise LanguageModelError(f"{self.path}:{self.number}: {fault}\n  {hint}")

    def _read(self, path: Path) -> Iterator[str]:
        try:
            for number, line in read_lines(path):
                self.number = number
                if text := line.decode("utf-8").strip():
                    yield text
        except UnicodeDecodeError:
            self.fail("the line is not UTF-8; wanted an ARPA file in UTF-8.", "Convert it: iconv -f latin1 -t utf-8")


def read_arpa(path: Path, on_progress: Progress = lambda done, total: None) -> Ngrams:
    """Read a model from an ARPA file, gzipped or not.

    Words are brought into the form that models spell (`normalize_text`): published models are often in capitals.
    n-grams may come in any order within a section. Contexts that are missing (SRILM drops some) are put back with the
    probability that backing off gives, so no score changes. on_progress: called with n-grams read and to read.
    Raises LanguageModelError, with the line's number, for whatever does not fit.
    """
    lines = _Lines(path)
    counts = _read_counts(lines)
    ids: dict[str, int] = {}
    sections = []
    for order, count in enumerate(counts, start=1):
        _expect_section(lines, order)
        sections.append(_read_section(lines, order, count, ids))
        on_progress(sum(counts[:order]), sum(counts))
    _expect_end(lines)
    _add_unknown(path, ids, sections[0])
    return _Compiler(path, ids, sections).compile()


def _read_counts(lines: _Lines) -> list[int]:
    while lines.line is not None and lines.line != "\\data\\":
        lines.advance()
    if lines.line is None:
        lines.fail(
            "there is no line \\data\\; wanted an ARPA file.", "Is this a model that KenLM, SRILM or lmplz wrote as text?"
        )
    lines.advance()
    counts: list[int] = []
    while lines.line is not None and (match := re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)", lines.line)):
        order, count = int(match[1]), int(match[2])
        if order != len(counts) + 1 or order > MAX_ORDER:
            lines.fail(f"'{lines.line}' gives the count of order {order}; wanted orders 1 to {MAX_ORDER}, each once, in turn.")
        if count > MOST_NGRAMS:
            lines.fail(f"{count:,} n-grams; wanted at most {MOST_NGRAMS:,} of an order.", "Prune the model (lmplz --prune).")
        counts.append(count)
        lines.advance()
    if not counts:
        lines.fail(f"{_seen(lines)}; wanted the counts, such as 'ngram 1=5000'.")
    _check_size(lines, counts)
    return counts


def _check_size(lines: _Lines, counts: list[int]) -> None:
    """Refuse counts that the file cannot hold, before anything large is read."""
    with lines.path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    least = sum(count * (2 + 2 * order) for order, count in enumerate(counts, start=1))  # "0", a letter per word, marks
    size = lines.path.stat().st_size
    if not gzipped and least > size:
        lines.fail(f"{sum(counts):,} n-grams are announced, which the file's {size:,} bytes cannot hold.", "Copy it again.")


def _expect_section(lines: _Lines, order: int) -> None:
    wanted = f"\\{order}-grams:"
    if lines.line != wanted:
        lines.fail(f"{_seen(lines)}; wanted the section {wanted}")
    lines.advance()


def _expect_end(lines: _Lines) -> None:
    if lines.line != "\\end\\":
        lines.fail(f"{_seen(lines)}; wanted \\end\\ after the last section.", "The counts or the sections are wrong.")


def _seen(lines: _Lines) -> str:
    return "the file ends here" if lines.line is None else f"'{lines.line[:80]}' is read"


def _read_section(lines: _Lines, order: int, count: int, ids: dict[str, int]) -> _Section:
    section = _Section(order)
    for n in range(count):
        line = lines.line
        if line is None or (line.startswith("\\") and len(line.split()) == 1):
            lines.fail(f"{_seen(lines)} after {n:,} {order}-grams; \\data\\ announces {count:,}.", "The file is cut short.")
        _read_ngram(lines, line, section, ids)
        lines.advance()
    if lines.line is not None and not lines.line.startswith("\\"):
        lines.fail(f"another {order}-gram '{lines.line[:80]}'; \\data\\ announces {count:,}.")
    return section


def _read_ngram(lines: _Lines, line: str, section: _Section, ids: dict[str, int]) -> None:
    fields = line.split()
    order = section.order
    if len(fields) not in (order + 1, order + 2):
        lines.fail(f"'{line[:80]}' has {len(fields)} fields; wanted a log10 probability, {order} words and perhaps a backoff.")
    try:
        prob = float(fields[0])
        backoff = float(fields[order + 1]) if len(fields) == order + 2 else 0.0
    except ValueError:
        lines.fail(f"'{line[:80]}' holds something else where a number was wanted: log10 probability first, backoff last.")
    if not prob <= 1e-6 or not math.isfinite(backoff):
        lines.fail(f"log10 probability {prob}, backoff {backoff}; wanted a probability of at most 0 and a finite backoff.")
    words = fields[1 : order + 1]
    if order == 1:
        word = normalize_text(words[0])
        if word in ids:
            lines.fail(
                f"the word '{words[0]}' comes a second time.",
                "Words are taken in lower case, as models spell them; train the model on such text, or take one line out.",
            )
        ids[word] = len(ids)
    for word in words:
        number = ids.get(word)
        if number is None:
            number = ids.get(normalize_text(word))
        if number is None:
            lines.fail(f"the word '{word}' is not among the 1-grams.")
        section.words.append(number)
    section.log10_prob.append(max(prob, UNKNOWN_MISSING))
    section.log10_backoff.append(backoff)
    section.line.append(lines.number)


def _add_unknown(path: Path, ids: dict[str, int], unigrams: _Section) -> None:
    for special in (BEGIN, END):
        if special not in ids:
            raise LanguageModelError(f"{path}: there is no {special} among the 1-grams.\n  Train the model on whole sentences.")
    if UNKNOWN not in ids:
        ids[UNKNOWN] = len(ids)
        unigrams.words.append(ids[UNKNOWN])
        unigrams.log10_prob.append(UNKNOWN_MISSING)
        unigrams.log10_backoff.append(0.0)
        unigrams.line.append(0)


class _Compiler:
    """Sorts sections to tables, each n-gram bound to the row of its context."""

    def __init__(self, path: Path, ids: dict[str, int], sections: list[_Section]) -> None:
        self.path = path
        self.vocabulary = tuple(sorted(ids))
        rank = np.empty(len(ids), dtype=np.int64)
        rank[[ids[word] for word in self.vocabulary]] = np.arange(len(ids))
        self.words = [rank[np.array(s.words, dtype=np.int64).reshape(-1, s.order)] for s in sections]
        self.probs = [np.array(s.log10_prob) for s in sections]
        self.backoffs = [np.array(s.log10_backoff) for s in sections]
        self.lines = [np.array(s.line) for s in sections]
        self.finder = Finder(len(ids))

    def compile(self) -> Ngrams:
        tables: list[OrderTable] = []
        while len(tables) < len(self.words):
            order = len(tables) + 1
            words = self.words[order - 1]
            context = self.finder.rows(words[:, :-1])
            if (context < 0).any():
                self._put_back(words[context < 0, :-1])
                tables, self.finder = [], Finder(len(self.vocabulary))
                continue
            tables.append(self._table(order, context, words[:, -1]))
        self._fill(tables)
        return Ngrams(self.vocabulary, tuple(tables))

    def _table(self, order: int, context: Ints, last: Ints) -> OrderTable:
        key = context * len(self.vocabulary) + last
        ranked = np.argsort(key, kind="stable")
        key = key[ranked]
        twice = np.flatnonzero(key[1:] == key[:-1])
        if len(twice):
            first, second = (int(self.lines[order - 1][ranked[twice[0] + n]]) for n in (0, 1))
            ngram = " ".join(self.vocabulary[word] for word in self.words[order - 1][ranked[twice[0]]])
            raise LanguageModelError(
                f"{self.path}:{second}: the n-gram '{ngram}' comes a second time; it is in line {first} already.\n"
                "  Write the file again with the program that made it."
            )
        for values in (self.words, self.probs, self.backoffs, self.lines):
            values[order - 1] = values[order - 1][ranked]
        self.finder.keys.append(key)
        return OrderTable(context[ranked], last[ranked], self.probs[order - 1], self.backoffs[order - 1])

    def _put_back(self, missing: Ints) -> None:
        """Add contexts that longer n-grams name but no section holds; their probability is not known yet."""
        order = missing.shape[1]
        missing = np.unique(missing, axis=0)
        known = self.finder.rows(missing) if len(self.finder.keys) >= order else np.full(len(missing), -1)
        missing = missing[known < 0]
        n = len(missing)
        self.words[order - 1] = np.concatenate([self.words[order - 1], missing])
        self.probs[order - 1] = np.concatenate([self.probs[order - 1], np.full(n, np.nan)])
        self.backoffs[order - 1] = np.concatenate([self.backoffs[order - 1], np.zeros(n)])
        self.lines[order - 1] = np.concatenate([self.lines[order - 1], np.zeros(n, dtype=np.int64)])

    def _fill(self, tables: list[OrderTable]) -> None:
        """Give contexts that were put back the probability that backing off gives."""
        for order, table in enumerate(tables, start=1):
            for row in np.flatnonzero(np.isnan(table.log10_prob)):
                table.log10_prob[row] = self._back_off(tables, self.words[order - 1][row])

    def _back_off(self, tables: list[OrderTable], words: Ints) -> float:
        n = len(words)
        row = int(self.finder.rows(words[None])[0])
        if row >= 0 and not math.isnan(tables[n - 1].log10_prob[row]):
            return float(tables[n - 1].log10_prob[row])
        context = int(self.finder.rows(words[None, :-1])[0])
        backoff = float(tables[n - 2].log10_backoff[context]) if context >= 0 else 0.0
        return backoff + self._back_off(tables, words[1:])


def write_arpa(ngrams: Ngrams, path: Path, on_progress: Progress = lambda done, total: None) -> None:
    """Write a model as an ARPA file (gzipped if the name ends in .gz); numbers have seven digits."""
    total, done = sum(map(len, ngrams.tables)), 0
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {order}={len(table)}\n" for order, table in enumerate(ngrams.tables, start=1))
        texts: list[str] = []
        for order, table in enumerate(ngrams.tables, start=1):
            file.write(f"\n\\{order}-grams:\n")
            texts = _spelled(ngrams.vocabulary, table, texts)
            columns = zip(table.log10_prob.tolist(), texts, table.log10_backoff.tolist(), strict=True)
            if order < ngrams.order:
                file.writelines(f"{prob:.7g}\t{text}\t{backoff:.7g}\n" for prob, text, backoff in columns)
            else:
                file.writelines(f"{prob:.7g}\t{text}\n" for prob, text, _ in columns)
            done += len(table)
            on_progress(done, total)
        file.write("\n\\end\\\n")


def _spelled(vocabulary: tuple[str, ...], table: OrderTable, contexts: list[str]) -> list[str]:
    words = [vocabulary[word] for word in table.word.tolist()]
    return [f"{contexts[row]} {word}" for row, word in zip(table.context.tolist(), words, strict=True)] if contexts else words


def children(tables: tuple[OrderTable, ...]) -> list[Ints]:
    """For each order but the longest: where each n-gram's continuations begin in the next table, `[n_ngrams + 1]`."""
    return [np.searchsorted(longer.context, np.arange(len(shorter) + 1)) for shorter, longer in pairwise(tables)]
