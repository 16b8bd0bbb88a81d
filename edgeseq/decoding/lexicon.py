"""A list of words that may be said, each spelled as it is written or as it sounds.

A lexicon file has one word per line, and after it, if the model spells it otherwise, its spelling: letters with spaces, or in
one piece; phones, if those are the model's tokens. Several lines of one word are several pronunciations. `#` begins a comment.

    lights
    siobhan   shivawn
    siobhan   s h i v o n
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from edgeseq.errors import WordListError
from edgeseq.tokens.packed_lexicon import is_packed, load_lexicon
from edgeseq.tokens.pronunciations import Phones, read_entries, written
from edgeseq.tokens.table import BLANK, WORD_START, TokenTable

MOST_FAULTS = 10
"""Shown of one file."""
MOST_WORDS = 20
"""Shown of those that a lexicon lacks."""
LAST = "\U0010ffff"
"""Sorts behind every letter."""


class Lexicon:
    """Words by spelling, sorted so that all spellings with one beginning are neighbours. Read-only."""

    def __init__(self, spellings: Iterable[tuple[str, str]]) -> None:
        """Take pairs (spelling, word), spellings without `▁`.

        >>> lexicon = Lexicon([("shivawn", "siobhan"), ("light", "light"), ("lights", "lights")])
        >>> lexicon.words("shivawn"), lexicon.words("ligh"), lexicon.span("ligh")
        (('siobhan',), (), (0, 2))
        """
        by_spelling: dict[str, list[str]] = {}
        for spelling, word in spellings:
            words = by_spelling.setdefault(spelling, [])
            if word not in words:
                words.append(word)
        self.spellings = sorted(by_spelling)
        self._words = {spelling: tuple(words) for spelling, words in by_spelling.items()}
        content = "\n".join(f"{spelling}\t{' '.join(self._words[spelling])}" for spelling in self.spellings)
        self.identity = sha256(content.encode()).hexdigest()[:8]

    def words(self, spelling: str) -> tuple[str, ...]:
        """Give the words that are spelled so, none if there is none."""
        return self._words.get(spelling, ())

    def span(self, beginning: str, within: tuple[int, int] | None = None) -> tuple[int, int]:
        """Give the range of `spellings` that begin so; `within` is that of a shorter beginning, where it is known."""
        low, high = (0, len(self.spellings)) if within is None else within
        return bisect_left(self.spellings, beginning, low, high), bisect_left(self.spellings, beginning + LAST, low, high)


def lexicon_entries(path: Path) -> Iterator[tuple[int, str, Phones]]:
    """Yield (number of the line, word, phones) of a lexicon file, packed or in lines; see `read_entries`."""
    lines = load_lexicon(path).text().splitlines() if is_packed(path) else read_lines(path)
    return read_entries(lines)


def read_phone_lexicon(path: Path, tokens: TokenTable) -> TokenTable:
    """Read a lexicon file for a model of phones: its tokens with these words instead of its own.

    A word without phones sounds as the model knows it. Raises WordListError that lists faults by line, or says that the
    file is empty, or in other phones than the model's.
    """
    if is_packed(path):
        return _with_packed_lexicon(path, tokens)
    faults: list[str] = []
    entries: list[tuple[str, Phones]] = []
    for number, word, phones in read_entries(read_lines(path)):
        ways = (phones,) if phones else tokens.pronunciations.get(word, ())
        strange = sorted(set(phones) - set(tokens.symbols))
        if strange or not ways:
            faults.append(f"{path}:{number}: '{word}' needs {', '.join(map(repr, strange)) or 'phones'}")
        entries += [(word, way) for way in ways]
    report_faults(faults, f"wanted words with the phones of the model ({' '.join(sorted(tokens.symbols))}).")
    if not entries:
        raise _empty(path)
    return replace(tokens, lexicon=written(entries))


def _with_packed_lexicon(path: Path, tokens: TokenTable) -> TokenTable:
    lexicon = load_lexicon(path)
    strange = sorted(set(lexicon.phones) - set(tokens.symbols))
    if strange:
        hears = " ".join(sorted(set(tokens.symbols) - {BLANK, WORD_START}))
        raise WordListError(
            f"{path}: the lexicon is in other phones than the model's: it has {', '.join(strange)}; the model hears {hears}.\n"
            "  Make it in the model's phones, from the dictionary that the model was trained with: edgeseq lexicon make"
        )
    if not lexicon:
        raise _empty(path)
    return replace(tokens, lexicon=lexicon)


def read_lexicon(path: Path, tokens: TokenTable) -> Lexicon:
    """Read a lexicon file for a model of letters, in whatever pieces.

    Raises WordListError that lists its faults by line, or says that it is empty.
    """
    if is_packed(path):
        raise WordListError(f"{path}: a packed lexicon has phones, the model's tokens are letters; wanted one word per line.")
    faults: list[str] = []
    spellings: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = tokens.normalize(line.partition("#")[0]).split()
        if fields:
            spelling = _spelling(fields, tokens)
            unknown = sorted(set(spelling) - tokens.letters)
            if unknown or not spelling:
                faults.append(f"{path}:{number}: '{fields[0]}' needs {', '.join(map(repr, unknown)) or 'letters'}")
            spellings.append((spelling, fields[0]))
    report_faults(faults, f"no token of the model spells them (letters: {' '.join(sorted(tokens.letters))}).")
    if not spellings:
        raise _empty(path)
    return Lexicon(spellings)


def known_words(tokens: TokenTable, path: Path | None) -> list[str]:
    """List the words that may be said: those of a model of phones, or of letters those of the lexicon `path`, none without."""
    if tokens.kind == "phones":
        return list(tokens.pronunciations)
    if path is None:
        return []
    lexicon = read_lexicon(path, tokens)
    return [word for spelling in lexicon.spellings for word in lexicon.words(spelling)]


def _empty(path: Path) -> WordListError:
    return WordListError(f"{path}: the lexicon is empty; wanted one word per line.\n  Without --lexicon every word is allowed.")


def read_lines(path: Path) -> list[str]:
    """Read a list. Raises WordListError for what is not UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise WordListError(
            f"{path}: byte {fault.start + 1:,} is not UTF-8; wanted text in UTF-8.\n  Convert it: iconv -f latin1 -t utf-8"
        ) from fault


def report_faults(faults: list[str], what: str) -> None:
    """Raise WordListError with the first faults, if there are any."""
    if faults:
        more = [f"... and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
        raise WordListError("\n  ".join([f"{len(faults):,} faults: {what}", *faults[:MOST_FAULTS], *more]))


def words_by_count(words: Iterable[str], counts: Mapping[str, int]) -> str:
    """List words for a message, one per line, those first that are said most often; only some of many.

    >>> words_by_count(["a", "b"], {"a": 1, "b": 2})
    '\\n    b  (2 times)\\n    a  (1 times)'
    """
    often = sorted(words, key=lambda word: (-counts[word], word))
    more = [f"\n    ... and {len(often) - MOST_WORDS:,} more"] if len(often) > MOST_WORDS else []
    return "".join([*(f"\n    {word}  ({counts[word]:,} times)" for word in often[:MOST_WORDS]), *more])


def _spelling(fields: list[str], tokens: TokenTable) -> str:
    """Join what follows the word, or take the word itself."""
    word, *given = fields
    return "".join(given).replace(WORD_START, "") if given else word
