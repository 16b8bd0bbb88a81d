"""Lexicons in their packed form: what goes in comes out, and no bytes do harm."""

import doctest
import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.errors import WordListError
from edgeseq.tokens import packed_lexicon
from edgeseq.tokens.packed_lexicon import MAGIC, is_packed, load_lexicon, pack, write_packed
from edgeseq.tokens.pronunciations import pronunciations_of

PHONES = st.lists(st.sampled_from(["AA", "B", "tʃ", "s"]), min_size=1, max_size=6).map(tuple)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=8)
ENTRIES = st.lists(st.tuples(WORDS, PHONES), max_size=40)
TEA = [("tea", ("T", "IY")), ("a", ("AH",)), ("a", ("EY",))]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("packed") / "words.lexicon"


def test_doctests():
    assert doctest.testmod(packed_lexicon).failed == 0


@settings(deadline=None)
@given(ENTRIES, st.lists(WORDS, max_size=5))
def test_what_is_written_is_read(file, entries, others):
    write_packed(pack(entries), file)
    found, wanted = load_lexicon(file), pronunciations_of(entries)
    assert dict(found) == wanted and found == pack(entries) and hash(found) == hash(pack(entries))
    assert list(found) == sorted(wanted, key=str.encode) and is_packed(file)
    assert [word in found for word in others] == [word in wanted for word in others]


def test_as_lines():
    assert pack(TEA).text() == "a AH\na EY\ntea T IY\n"


def test_words_that_are_not_there():
    packed = pack(TEA)
    with pytest.raises(KeyError):
        packed["te"]
    assert packed.get("teas") is None and "" not in packed and 3 not in packed and pack(TEA[:2]) != packed


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("tea", ())], "'tea' with 1 pronunciations, the longest of 0 phones; wanted 1 to 255"),
        ([("tea", ("T",) * 256)], "the longest of 256 phones"),
        ([("tea", (str(number),)) for number in range(256)], "'tea' with 256 pronunciations"),
        ([(str(number), (str(number),)) for number in range(256)], "256 different phones; wanted at most 255"),
    ],
)
def test_what_the_form_cannot_hold(entries, message):
    with pytest.raises(WordListError, match=message):
        pack(entries)


@settings(deadline=None)
@given(ENTRIES.filter(bool), st.data())
def test_a_damaged_file_is_refused_or_still_a_lexicon(file, entries, data):
    write_packed(pack(entries), file)
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert all(all(ways) for ways in load_lexicon(file).values())
    except WordListError as fault:
        assert str(file) in str(fault)


def craft(file, body=None, **changes):
    """Write a file whose header and checksums hold, whatever it says."""
    parts = {"words": b"a\ntea\n", "ways": b"\1\1", "lengths": b"\1\2", "sounds": b"\0\2\1"}
    parts |= {name: value for name, value in changes.items() if name in parts}
    about = {"phones": ["AH", "IY", "T"], "bytes": list(map(len, parts.values()))}
    about |= {name: value for name, value in changes.items() if name in about}
    header = json.dumps(about).encode()
    content = zlib.compress(b"".join(parts.values())) if body is None else body
    file.write_bytes(MAGIC + b"1" + struct.pack("<II", len(header), zlib.crc32(header)) + header + content)


def test_a_crafted_file_is_a_lexicon(file):
    craft(file)
    assert dict(load_lexicon(file)) == {"a": (("AH",),), "tea": (("T", "IY"),)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": b"a\ntea"}, "not equally many"),
        ({"words": b"a\nte\xff\n"}, "codec can't decode"),
        ({"ways": b"\1\2"}, "not equally many"),
        ({"ways": b"\2\0"}, "without phones"),
        ({"sounds": b"\0\2\3"}, "phones without a name"),
        ({"phones": "AH"}, "not a list of names"),
        ({"phones": ["A H", "IY", "T"]}, "not a list of names"),
        ({"bytes": [6, 2, 2]}, "does not give the bytes"),
        ({"bytes": [6, 2, 2, -1]}, "does not give the bytes"),
        ({"bytes": [6, 2, 2, 4]}, "13 bytes or more of words, wanted 14"),
        ({"bytes": [1 << 40, 2, 2, 3]}, "at most 67,108,864 are read"),
        ({"body": zlib.compress(bytes(100_000_000))}, "14 bytes or more of words, wanted 13"),
        ({"body": b"no zlib"}, "incorrect header"),
    ],
)
def test_crafted_files_are_refused(file, changes, message):
    craft(file, **changes)
    with pytest.raises(WordListError, match=rf"damaged or cut short \(.*{message}(?s:.)*pack it again"):
        load_lexicon(file)


def test_other_files_are_refused(file):
    file.write_text("tea T IY\n")
    assert not is_packed(file)
    with pytest.raises(WordListError, match=r"not a packed lexicon(?s:.)*edgeseq lexicon pack"):
        load_lexicon(file)
    file.write_bytes(MAGIC + b"2")
    with pytest.raises(WordListError, match="format version '2'; this edgeseq reads '1'"):
        load_lexicon(file)
