"""Symbols and their ids: what a network's output columns stand for, and how words are spelled by them.

Three kinds: characters, subwords (pieces that sentencepiece chose), phones (by a lexicon). Every word begins with `▁` (as
sentencepiece writes it), the first word too, so that "one" is spelled the same whether it opens a recording or follows
another word, and texts of consecutive pieces of one stream can be joined. It is a token of its own for characters and
phones; subwords may have it in front: `▁on`, `e`. Phones do without it where a model was trained so (`word_start` is
false): then only a lexicon knows where words begin, and `▁` is a token that is never said.

A word is made of units: letters, whatever pieces they come in, or phones. Lexicons, hotwords and language models follow the
units, so that any way of cutting a word to subwords is that word.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, product
from typing import Any, Literal, cast

from edgeseq.errors import ManifestError
from edgeseq.tokens.normalizing import normalize_text
from edgeseq.tokens.packed_lexicon import PackedLexicon
from edgeseq.tokens.pronunciations import Phones, Pronouncer, pronunciations_of, read_entries, written
from edgeseq.tokens.subwords import Segmenter

Kind = Literal["characters", "subwords", "phones"]

BLANK = "<blk>"
"""The CTC symbol for "nothing new" (Graves et al. 2006, section 3)."""

WORD_START = "▁"
"""Precedes each word."""

MOST_WAYS = 32
"""In which a phrase may be pronounced, if its words have several pronunciations each."""


@dataclass(frozen=True)
class TokenTable:
    """The symbols of a model, in the order of its output columns."""

    symbols: tuple[str, ...]
    scores: tuple[float, ...] = ()
    """of subwords: natural log of each piece's probability, `[n_tokens]`; none for other kinds"""
    lexicon: str | PackedLexicon = ""
    """of phones: the words that there are, `word P1 P2 ...` a line, or packed; empty for other kinds"""
    word_start: bool = True
    """whether words are spelled with `▁` before them; may be False of phones only"""
    guesser: Pronouncer | None = field(default=None, compare=False, repr=False)
    """of phones: pronounces words that the lexicon lacks"""
    guessed: tuple[tuple[str, tuple[Phones, ...]], ...] = ()
    """words that were so pronounced"""
    language: str = field(default="", compare=False)
    """of the texts, a tag such as `tr`, whose rules say what is a small letter; "" for those of most"""

    @classmethod
    def of_characters(cls, texts: Iterable[str], language: str = "") -> TokenTable:
        """Collect the characters of `texts` (any form; they are normalized), sorted, after blank and word start.

        >>> TokenTable.of_characters(["no", "one"]).symbols
        ('<blk>', '▁', 'e', 'n', 'o')
        """
        characters = {character for text in texts for character in normalize_text(text, language)} - {" "}
        return cls((BLANK, WORD_START, *sorted(characters)), language=language)

    @classmethod
    def of_phones(cls, entries: Iterable[tuple[str, Phones]], *, word_start: bool = True) -> TokenTable:
        """Collect the phones of a lexicon's (word, phones), sorted, after blank and word start, which is there in any case.

        >>> TokenTable.of_phones([("tea", ("t", "iː")), ("two", ("t", "uː"))]).symbols
        ('<blk>', '▁', 'iː', 't', 'uː')
        """
        given = list(entries)
        phones = {phone for _, of_word in given for phone in of_word}
        return cls((BLANK, WORD_START, *sorted(phones)), lexicon=written(given), word_start=word_start)

    @classmethod
    def from_details(
        cls,
        symbols: Iterable[str],
        details: Mapping[str, Any],
        lexicon: str | PackedLexicon | None = None,
        guesser: Pronouncer | None = None,
    ) -> TokenTable:
        """Put a table together from its symbols, its `details`, and of phones what lies in files of their own.

        lexicon: instead of that of the details. Raises ValueError that says what does not fit.
        """
        kind = details.get("kind", "characters")
        if kind == "characters":
            return cls(tuple(symbols))
        if kind == "subwords":
            return cls(tuple(symbols), scores=tuple(float(score) for score in details.get("scores", ())))._checked()
        if kind == "phones":
            words = str(details.get("lexicon", "")) if lexicon is None else lexicon
            return cls(tuple(symbols), lexicon=words, word_start=details.get("word_start", True), guesser=guesser)._checked()
        raise ValueError(f"tokens of the kind {kind!r}; wanted characters, subwords or phones")

    @property
    def details(self) -> dict[str, Any]:
        """What must be kept besides the symbols: nothing for characters, else the kind and what it needs."""
        if self.kind == "subwords":
            return {"kind": "subwords", "scores": list(self.scores)}
        if self.kind == "phones":
            words = self.lexicon if isinstance(self.lexicon, str) else self.lexicon.text()
            return {"kind": "phones", "lexicon": words} | ({} if self.word_start else {"word_start": False})
        return {}

    @property
    def kind(self) -> Kind:
        """What the symbols are."""
        return "subwords" if self.scores else "phones" if self.lexicon else "characters"

    @cached_property
    def ids(self) -> dict[str, int]:
        """Column of each symbol."""
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @property
    def blank_id(self) -> int:
        """Column of the CTC blank."""
        return self.ids[BLANK]

    @property
    def word_start_id(self) -> int:
        """Column of the word separator."""
        return self.ids[WORD_START]

    @cached_property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """What each token says: a phone, or letters, `▁` among them; `[n_tokens]`."""
        return tuple(tuple(symbol) if self.kind == "subwords" else (symbol,) for symbol in self.symbols)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What each token adds to the text of a word, `[n_tokens]`; a space behind phones keeps `n g` and `ng` apart."""
        return tuple(f"{symbol} " if self.kind == "phones" and symbol != WORD_START else symbol for symbol in self.symbols)

    @cached_property
    def opens(self) -> tuple[bool, ...]:
        """Whether a word begins with each token, `[n_tokens]`; phones stand alone where nothing tells where words begin."""
        return tuple(not self.word_start or symbol.startswith(WORD_START) for symbol in self.symbols)

    @cached_property
    def pronunciations(self) -> Mapping[str, tuple[Phones, ...]]:
        """How words sound, where tokens are phones."""
        return ChainMap(dict(self.guessed), cast(dict[str, Any], self._listed)) if self.guessed else self._listed

    @cached_property
    def _listed(self) -> Mapping[str, tuple[Phones, ...]]:
        if isinstance(self.lexicon, PackedLexicon):
            return self.lexicon
        return pronunciations_of((word, phones) for _, word, phones in read_entries(self.lexicon.splitlines()))

    @cached_property
    def whole_words(self) -> tuple[str, ...]:
        """The words that are tokens of their own, where a model knows nothing else: no other token says more than a letter."""
        pieces = [symbol for symbol in self.symbols if symbol not in (BLANK, WORD_START) and len(symbol) > 1]
        is_list = self.kind == "subwords" and all(piece.startswith(WORD_START) for piece in pieces)
        return tuple(piece.removeprefix(WORD_START) for piece in pieces) if is_list else ()

    @cached_property
    def letters(self) -> frozenset[str]:
        """What words are written with."""
        if self.kind == "phones":
            return frozenset(letter for word in self.pronunciations for letter in word)
        return frozenset(symbol for symbol in self.symbols if len(symbol) == 1) - {WORD_START}

    def __len__(self) -> int:
        """Count the symbols, blank included: the width of `log_probs`."""
        return len(self.symbols)

    def normalize(self, text: str) -> str:
        """Bring a text into the form that these tokens spell; see `normalize_text`."""
        return normalize_text(text, self.language)

    def unknown(self, text: str) -> list[str]:
        """List what in a text no token spells, each once, sorted: letters; where tokens are phones, words without any."""
        normal = self.normalize(text)
        if self.kind == "phones":
            return sorted({word for word in normal.split() if word not in self.pronunciations})
        return sorted(set(normal) - self.letters - {" "})

    def with_guesses(self, texts: Iterable[str]) -> TokenTable:
        """Give tokens that know all words of texts, too, those that the lexicon lacks as the guesser pronounces them.

        Without a guesser, and for words that it cannot read, nothing changes; see `unknown`.
        """
        if self.guesser is None:
            return self
        lacking = sorted({word for text in texts for word in self.unknown(text)})
        ways = {word: self.guesser.ways(word) for word in lacking}
        new = tuple((word, of_word) for word, of_word in ways.items() if of_word)
        return replace(self, guessed=(*self.guessed, *new)) if new else self

    def encode(self, text: str) -> list[int]:
        """Spell `text`, every word opened by `▁` if `word_start`; phones are those of the first pronunciation.

        Raises ManifestError naming what no token stands for.

        >>> TokenTable.of_characters(["one"]).encode("no one")
        [1, 3, 4, 1, 4, 3, 2]
        """
        unknown = self.unknown(text)
        if unknown:
            raise ManifestError(f"{text!r} holds {', '.join(map(repr, unknown))}, {self._mend}")
        return [self.ids[symbol] for word in self.normalize(text).split() for symbol in self._spell(word)]

    def ways(self, text: str) -> Iterator[tuple[str, ...]]:
        """Give the units of a text, `▁` before each word: letters, or phones in each way in which it is pronounced.

        `▁` stands there also where no word is spelled with it (`word_start` is false), to tell words apart.
        Raises KeyError for words without phones; see `unknown`.
        """
        words = self.normalize(text).split()
        by_word = [self.pronunciations[word] if self.kind == "phones" else (tuple(word),) for word in words]
        for chosen in islice(product(*by_word), MOST_WAYS):
            yield tuple(unit for units in chosen for unit in (WORD_START, *units))

    def arcs(self, units: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """List the tokens that say a stretch of `units`: (first unit, the one behind the last, token), by the first.

        >>> tokens = TokenTable(("<blk>", "▁", "o", "n", "▁on"), scores=(0, -1, -1, -1, -1))
        >>> list(tokens.arcs("▁on"))
        [(0, 1, 1), (0, 3, 4), (1, 2, 2), (2, 3, 3)]
        """
        for first in range(len(units)):
            for end in range(first + 1, min(len(units), first + self._longest) + 1):
                token = self.ids.get("".join(units[first:end]))
                if token is not None:
                    yield first, end, token

    def decode(self, ids: Sequence[int]) -> str:
        """Join ids (blanks and repeats already removed) to words; to phones where nothing tells where words begin.

        >>> TokenTable.of_characters(["one"]).decode([1, 3, 4, 1, 4, 3, 2])
        'no one'
        >>> tokens = TokenTable.of_phones([("tea", ("t", "iː"))], word_start=False)
        >>> tokens.decode(tokens.encode("tea tea"))
        't iː t iː'
        """
        words = "".join((WORD_START if self.opens[i] else "") + self.texts[i] for i in ids).split(WORD_START)
        return " ".join(self.word(word) for word in words if word.strip())

    def word(self, text: str) -> str:
        """Name the word of a text (`texts` joined, without `▁`): of phones the first that sounds so, or else the phones.

        Phones are reported as such where nothing tells where words begin.

        >>> tokens = TokenTable.of_phones([("tea", ("t", "iː"))])
        >>> tokens.word("t iː "), tokens.word("t "), tokens.word("t t ")
        ('tea', 't', 't-t')
        """
        if self.kind != "phones":
            return text
        named = self._words.get(text) if self.word_start else None
        return named or "-".join(text.split())

    def _spell(self, word: str) -> Sequence[str]:
        if self.kind == "subwords":
            return self._segmenter.segment(WORD_START + word)
        opening = (WORD_START,) if self.word_start else ()
        return (*opening, *(self.pronunciations[word][0] if self.kind == "phones" else word))

    @cached_property
    def _segmenter(self) -> Segmenter:
        pieces = [(symbol, score) for symbol, score in zip(self.symbols, self.scores, strict=True) if symbol != BLANK]
        return Segmenter(*zip(*pieces, strict=True))

    @cached_property
    def _longest(self) -> int:
        """Count the units of the longest token."""
        return max(len(units) for units in self.units)

    @cached_property
    def _words(self) -> dict[str, str]:
        """Name words by the texts of their phones."""
        words: dict[str, str] = {}
        for word, ways in self.pronunciations.items():
            for phones in ways:
                words.setdefault("".join(f"{phone} " for phone in phones), word)
        return words

    @property
    def _mend(self) -> str:
        """Say what is wrong with what is unknown, and what to do."""
        if self.kind == "phones":
            return "which the lexicon of this model lacks.\n  Correct the text, or train with a lexicon that has it."
        return (
            "which no token of this model spells.\n"
            f"  Letters: {' '.join(sorted(self.letters))}. Correct the text or train with it among the training texts."
        )

    def _checked(self) -> TokenTable:
        """Raise ValueError where symbols and details do not belong together."""
        if self.kind == "characters":
            raise ValueError("scores of subwords, or a lexicon of phones, are missing")
        if WORD_START not in self.ids:
            raise ValueError(f"no token {WORD_START!r}")
        if not isinstance(self.word_start, bool):
            raise ValueError(f"word_start is {self.word_start!r}; wanted true or false")
        if self.kind == "subwords" and len(self.scores) != len(self.symbols):
            raise ValueError(f"{len(self.scores)} scores for {len(self.symbols)} tokens")
        if self.guesser is not None and self.guesser.phones - self.ids.keys():
            raise ValueError(f"the guesser has phones that are no tokens: {sorted(self.guesser.phones - self.ids.keys())}")
        if isinstance(self.lexicon, PackedLexicon):
            strange = set(self.lexicon.phones) - self.ids.keys()
            if strange:
                raise ValueError(f"the lexicon has phones that are no tokens: {sorted(strange)}")
            return self
        for word, ways in self.pronunciations.items():
            strange = {phone for phones in ways for phone in phones} - self.ids.keys()
            if strange or () in ways:
                raise ValueError(f"the lexicon has {word!r} without phones, or phones outside the tokens: {sorted(strange)}")
        return self
