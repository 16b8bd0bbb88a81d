"""Simulated rows of log-probs, as a model of phones might give them for sentences, to measure dictation without a model.

A phone is a peak of one or two rows; most rows between are blank. For a share of the phones a similar phone is likelier (a
vowel for a vowel near it), some are missed, and some are inserted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

ALIKE = (
    "AA AH AO AW", "AE EH EY", "IH IY AH", "UH UW OW", "ER AH", "OY AY AO", "B P D", "T D K", "G K", "F V TH", "DH D V TH",
    "S Z SH", "SH ZH CH", "CH JH", "M N NG", "L R W", "W V", "Y IY", "HH F",
)  # fmt: skip
"""Those of CMUdict's phones that are mistaken for each other."""
SELDOM = 0.02
"""How often, against those, any other phone is mistaken for one."""
MISSED, FROM_NOWHERE = 0.25, 0.12
"""Share of the wrong phones that are missed; phones from nowhere, one for this many wrong ones."""
BLANK_ROWS = 1.6
"""Behind a phone, on average: about ten phones a second of 25 rows."""
FLOOR = 2e-5


class Simulator:
    """Draws rows. The same seed draws the same."""

    def __init__(self, symbols: Sequence[str], blank: int, separator: int, *, wrong: float, separated: bool, seed: int) -> None:
        """Draw rows of `symbols`; a share `wrong` of phones is not the likeliest; words are `separated` by a token or not."""
        self._n, self._blank, self._separator = len(symbols), blank, separator
        self._wrong, self._separated = wrong, separated
        self._confusable = _confusable(symbols, (blank, separator))
        self._random = np.random.default_rng(seed)

    def rows(self, words: Sequence[Sequence[int]]) -> Rows:
        """Say words, each a list of phones' ids."""
        rows = self._silence(6)
        for phones in words:
            if self._separated:
                sure = self._random.beta(5, 1.5)
                rows += [self._row({self._separator: sure}), *self._silence(self._random.poisson(BLANK_ROWS / 2))]
            for phone in phones:
                rows += [*self._phone(phone), *self._silence(self._random.poisson(BLANK_ROWS))]
        rows += self._silence(10)
        return np.log(np.array(rows)).astype(np.float32)

    def _phone(self, phone: int) -> list[Floats]:
        random = self._random
        others = random.choice(self._n, size=3, replace=False, p=self._confusable[phone])
        is_wrong, is_missed = random.random() < self._wrong, random.random() < MISSED
        sure = random.uniform(0.02, 0.45) if is_wrong else 0.5 + 0.5 * random.beta(6, 1.2)
        if is_wrong:
            shares = np.array([0.05, 0.02, 0.02, 0.91] if is_missed else [0.75, 0.1, 0.05, 0.1])
        else:
            shares = random.dirichlet([1.2, 0.5, 0.3, 0.8])
        row = self._row({phone: sure} | dict(zip(others.tolist(), ((1 - sure) * shares[:3]).tolist(), strict=True)))
        rows = [row]
        if random.random() < 0.25:
            rows.append(self._row(dict(enumerate(0.25 * row))))
        if random.random() < FROM_NOWHERE * self._wrong:
            rows.append(self._row({int(random.choice(self._n, p=self._confusable[phone])): random.uniform(0.3, 0.8)}))
        return rows

    def _silence(self, n_rows: int) -> list[Floats]:
        return [self._row(dict.fromkeys(self._random.integers(0, self._n, 3).tolist(), 0.001)) for _ in range(n_rows)]

    def _row(self, said: dict[int, float]) -> Floats:
        """Give the rest to blank."""
        row = np.full(self._n, FLOOR)
        row[list(said)] = np.maximum(list(said.values()), FLOOR)
        row[self._blank] = 0.0
        row[self._blank] = max(FLOOR, 1.0 - row.sum())
        return np.asarray(row / row.sum())


def _confusable(symbols: Sequence[str], never: tuple[int, ...]) -> Floats:
    """Give how often each symbol is taken for each, `[n_tokens, n_tokens]`, rows that sum to one."""
    table = np.full((len(symbols), len(symbols)), SELDOM)
    places = {symbol: number for number, symbol in enumerate(symbols)}
    for phones in ALIKE:
        alike = [places[phone] for phone in phones.split() if phone in places]
        table[np.ix_(alike, alike)] = 1.0
    np.fill_diagonal(table, 0.0)
    table[:, never] = 0.0
    return table / table.sum(axis=1, keepdims=True)
