"""A pronouncing lexicon of many thousand words in a small file that a board opens in milliseconds.

    17 bytes   "edgeseq lexicon 1", the last character the version
     8 bytes   length and CRC-32 of the header, unsigned 32 bits each, little-endian
    header     JSON: the phones, and the bytes of each section
    body       zlib: sections one behind the other

Sections: `words` (UTF-8, sorted by bytes, each closed by a line feed), `ways` (a byte a word: how many pronunciations),
`lengths` (a byte a pronunciation: how many phones), `sounds` (a byte a phone: its number in the header). In memory it stays
that way, and a word is found by binary search.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import WordListError
from edgeseq.tokens.pronunciations import Phones, pronunciations_of, written
from edgeseq.untrusted import parse_json
from edgeseq.whole_file import write_whole

MAGIC = b"edgeseq lexicon "
VERSION = b"1"
SUFFIX = ".lexicon"
SECTIONS = ("words", "ways", "lengths", "sounds")
MOST_BYTES = 64 << 20
"""Size of a lexicon in memory: some three million words."""
MOST_HEADER = 1 << 16
MOST = 255
"""Phones that there are, pronunciations of a word, phones in one of them."""

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PackedLexicon(Mapping[str, tuple[Phones, ...]]):
    """Words and how they sound, in order of the words' bytes. Read-only."""

    phones: tuple[str, ...]
    """that there are, sorted"""
    words: bytes
    """each closed by a line feed"""
    ways: Bytes
    """pronunciations of each word, `[n_words]`"""
    lengths: Bytes
    """phones of each pronunciation, `[n_pronunciations]`"""
    sounds: Bytes
    """numbers of all phones, one behind the other"""

    def __len__(self) -> int:
        """Count the words."""
        return len(self.ways)

    def __iter__(self) -> Iterator[str]:
        """List the words."""
        return iter(self.words.decode().split("\n")[:-1])

    def __contains__(self, word: object) -> bool:
        """Say whether there is such a word."""
        return isinstance(word, str) and self._find(word.encode()) is not None

    def __getitem__(self, word: str) -> tuple[Phones, ...]:
        """Give a word's pronunciations, in their order. Raises KeyError."""
        number = self._find(word.encode())
        if number is None:
            raise KeyError(word)
        return tuple(map(self._phones, range(self._first_way[number], self._first_way[number + 1])))

    def items(self) -> ItemsView[str, tuple[Phones, ...]]:
        """List the words with their pronunciations, without a search for each."""
        return _Items(self)

    def __eq__(self, other: object) -> bool:
        """Compare what they hold."""
        return isinstance(other, PackedLexicon) and (self.phones, self._content) == (other.phones, other._content)

    def __hash__(self) -> int:
        """Go with equality."""
        return zlib.crc32(self._content)

    def text(self) -> str:
        """Write the lexicon down as lines, `word P1 P2 ...`."""
        return written((word, phones) for word, ways in self.items() for phones in ways)

    @property
    def _content(self) -> bytes:
        return b"".join(bytes(memoryview(getattr(self, name))) for name in SECTIONS)

    def _phones(self, way: int) -> Phones:
        numbers = self.sounds[self._first_sound[way] : self._first_sound[way + 1]]
        return tuple(self.phones[number] for number in numbers.tolist())

    def _find(self, wanted: bytes) -> int | None:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._word(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._word(low) == wanted else None

    def _word(self, number: int) -> bytes:
        return self.words[self._first_letter[number] : self._first_letter[number + 1] - 1]

    @cached_property
    def _first_letter(self) -> Ints:
        return np.append(0, np.flatnonzero(np.frombuffer(self.words, dtype=np.uint8) == ord("\n")) + 1)

    @cached_property
    def _first_way(self) -> Ints:
        return np.append(0, np.cumsum(self.ways, dtype=np.int64))

    @cached_property
    def _first_sound(self) -> Ints:
        return np.append(0, np.cumsum(self.lengths, dtype=np.int64))


class _Items(ItemsView[str, tuple[Phones, ...]]):
    """All words and pronunciations, read from beginning to end."""

    _mapping: PackedLexicon

    def __iter__(self) -> Iterator[tuple[str, tuple[Phones, ...]]]:
        lexicon = self._mapping
        names = [lexicon.phones[number] for number in lexicon.sounds.tolist()]
        ends = np.cumsum(lexicon.lengths, dtype=np.int64).tolist()
        ways = iter([tuple(names[end - length : end]) for end, length in zip(ends, lexicon.lengths.tolist(), strict=True)])
        for word, n_ways in zip(lexicon, lexicon.ways.tolist(), strict=True):
            yield word, tuple(islice(ways, n_ways))


def pack(entries: Iterable[tuple[str, Phones]]) -> PackedLexicon:
    """Gather (word, phones); several entries of a word are its pronunciations, in that order.

    Raises WordListError for words without phones, and for more phones or pronunciations than the form can hold.

    >>> packed = pack([("tea", ("T", "IY")), ("a", ("AH",)), ("a", ("EY",))])
    >>> list(packed), packed["a"], "te" in packed
    (['a', 'tea'], (('AH',), ('EY',)), False)
    """
    gathered = pronunciations_of(entries)
    words = sorted(gathered, key=str.encode)
    ways = [gathered[word] for word in words]
    phones = tuple(sorted({phone for of_word in ways for way in of_word for phone in way}))
    numbers = {phone: number for number, phone in enumerate(phones)}
    _check_sizes(words, ways, phones)
    return PackedLexicon(
        phones,
        "".join(f"{word}\n" for word in words).encode(),
        np.array([len(of_word) for of_word in ways], dtype=np.uint8),
        np.array([len(way) for of_word in ways for way in of_word], dtype=np.uint8),
        np.array([numbers[phone] for of_word in ways for way in of_word for phone in way], dtype=np.uint8),
    )


def _check_sizes(words: list[str], ways: list[tuple[Phones, ...]], phones: tuple[str, ...]) -> None:
    for word, of_word in zip(words, ways, strict=True):
        longest = max(map(len, of_word))
        if not all(of_word) or longest > MOST or len(of_word) > MOST or not word or "\n" in word:
            raise WordListError(
                f"the lexicon has {word!r} with {len(of_word)} pronunciations, the longest of {longest} phones; "
                f"wanted 1 to {MOST} of either."
            )
    if len(phones) > MOST:
        raise WordListError(f"the lexicon has {len(phones)} different phones; wanted at most {MOST}.")


def write_packed(lexicon: PackedLexicon, path: Path) -> None:
    """Write a lexicon; nothing else has the same name while that lasts."""
    parts = [bytes(memoryview(getattr(lexicon, name))) for name in SECTIONS]
    body = zlib.compress(b"".join(parts), 9)
    about = {"phones": lexicon.phones, "bytes": list(map(len, parts))}
    header = json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode()
    write_whole(path, MAGIC + VERSION + struct.pack("<II", len(header), zlib.crc32(header)) + header + body)


def is_packed(path: Path) -> bool:
    """Tell a packed lexicon from one in lines, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_words(path: Path) -> str | PackedLexicon:
    """Read a lexicon for tokens: packed, or its lines as they stand.

    Raises as `load_lexicon`; ValueError for lines that are not UTF-8.
    """
    return load_lexicon(path) if is_packed(path) else path.read_text(encoding="utf-8-sig")


def load_lexicon(path: Path) -> PackedLexicon:
    """Read a packed lexicon. Raises WordListError for another file, another version, and one that is damaged; OSError."""
    content = path.read_bytes()
    start = len(MAGIC) + 1
    if content[: len(MAGIC)] != MAGIC:
        raise WordListError(
            f"{path}: not a packed lexicon; wanted one that `edgeseq lexicon pack` wrote.\n"
            f"  From lines of words and phones: edgeseq lexicon pack {path} --out {path.with_suffix(SUFFIX)}"
        )
    if content[len(MAGIC) : start] != VERSION:
        seen = content[len(MAGIC) : start].decode("ascii", errors="replace")
        raise WordListError(f"{path}: format version {seen!r}; this edgeseq reads {VERSION.decode()!r}.\n  Pack it again.")
    try:
        lexicon = _unpack(content[start:])
    except (ValueError, TypeError, KeyError, struct.error, zlib.error) as fault:
        raise WordListError(
            f"{path}: the file is damaged or cut short ({fault}).\n  Copy it again, or pack it again."
        ) from fault
    return lexicon


def _unpack(content: bytes) -> PackedLexicon:
    n_header, crc = struct.unpack_from("<II", content)
    header = content[8 : 8 + min(n_header, MOST_HEADER)]
    if len(header) < n_header or zlib.crc32(header) != crc:
        raise ValueError("its header is not whole")
    phones, sizes = _header(parse_json(header))
    unpacker = zlib.decompressobj()
    body = unpacker.decompress(content[8 + n_header :], sum(sizes) + 1)
    if len(body) != sum(sizes) or not unpacker.eof:
        raise ValueError(f"{len(body):,} bytes or more of words, wanted {sum(sizes):,}")
    bounds = np.append(0, np.cumsum(sizes))
    words, *others = (body[first:end] for first, end in pairwise(bounds))
    lexicon = PackedLexicon(phones, words, *(np.frombuffer(part, dtype=np.uint8) for part in others))
    _check(lexicon)
    return lexicon


def _header(about: Any) -> tuple[tuple[str, ...], list[int]]:
    if not isinstance(about, dict):
        raise ValueError("its header is not an object")
    phones, sizes = about["phones"], about["bytes"]
    if not (isinstance(phones, list) and all(isinstance(phone, str) and phone.split() == [phone] for phone in phones)):
        raise ValueError("its phones are not a list of names")
    if not (isinstance(sizes, list) and len(sizes) == len(SECTIONS) and all(type(size) is int and size >= 0 for size in sizes)):
        raise ValueError(f"it does not give the bytes of {', '.join(SECTIONS)}")
    if sum(sizes) > MOST_BYTES:
        raise ValueError(f"{sum(sizes):,} bytes of words, at most {MOST_BYTES:,} are read")
    return tuple(phones), sizes


def _check(lexicon: PackedLexicon) -> None:
    """Raise ValueError where sections do not fit each other."""
    lexicon.words.decode()
    counts = (lexicon.words.count(b"\n"), int(lexicon.ways.sum()), int(lexicon.lengths.sum()))
    if counts != (len(lexicon.ways), len(lexicon.lengths), len(lexicon.sounds)) or lexicon.words[-1:] not in (b"", b"\n"):
        raise ValueError("its words and their phones are not equally many")
    if not (lexicon.ways.all() and lexicon.lengths.all()) or (lexicon.sounds >= len(lexicon.phones)).any():
        raise ValueError("it has words without phones, or phones without a name")
