"""Lexicons from dictionaries and from espeak-ng."""

import doctest
import shutil

import command_line
import pytest

from edgeseq.data import pronounce
from edgeseq.data.pronounce import count_words, look_up, speak
from edgeseq.errors import UsageError, WordListError
from edgeseq.pronunciations import read_entries

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
CMUDICT = "READ  R EH1 D\nREAD(2)  R IY1 D\nTEA  T IY1\nBEING  B IY1 IH0 NG\n"


@pytest.fixture
def cmudict(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text(CMUDICT)
    return path


def test_doctests():
    assert doctest.testmod(pronounce).failed == 0


def test_words_are_counted_in_texts_and_manifests(tmp_path):
    (tmp_path / "a.txt").write_text("Read tea\ntea\n")
    (tmp_path / "b.jsonl").write_text('{"audio_filepath": "x.wav", "duration": 1, "text": "Tea"}\n')
    assert count_words([tmp_path / "a.txt", tmp_path / "b.jsonl"]) == {"tea": 3, "read": 1}


def test_words_are_looked_up_with_and_without_stress(cmudict):
    assert look_up({"tea": 1, "read": 2}, [cmudict]) == [
        ("read", ("R", "EH", "D")),
        ("read", ("R", "IY", "D")),
        ("tea", ("T", "IY")),
    ]
    assert look_up({"being": 1}, [cmudict], stress=True) == [("being", ("B", "IY1", "IH0", "NG"))]


def test_the_first_dictionary_that_has_a_word_counts(cmudict, tmp_path):
    (tmp_path / "mine.txt").write_text("tea T EY\nsiobhan SH IH V AO N\n")
    found = look_up({"tea": 1, "siobhan": 1, "being": 1}, [tmp_path / "mine.txt", cmudict])
    assert dict(found) == {"tea": ("T", "EY"), "siobhan": ("SH", "IH", "V", "AO", "N"), "being": ("B", "IY", "IH", "NG")}


def test_words_that_are_nowhere_are_listed(cmudict):
    with pytest.raises(WordListError, match=r"lack 2 words:\n    no  \(9 times\)\n    all  \(1 times\)\n  .*--dictionary"):
        look_up({"all": 1, "no": 9, "tea": 3}, [cmudict])


@needs_espeak
def test_espeak_pronounces_each_word_by_itself():
    words = ["don't", "e.g.", "hello", "tea", "read", *(f"word{'a' * n}" for n in range(250))]
    found = speak(dict.fromkeys(words, 1), "en-us")
    assert [word for word, _ in found] == sorted(words)
    by_word = dict(found)
    assert by_word["tea"] == ("t", "iː") and by_word["don't"] == ("d", "oʊ", "n", "t") and by_word["e.g."][-1] == "iː"
    assert dict(speak({"tea": 1}, "en-us", stress=True)) == {"tea": ("t", "ˈiː")}


@needs_espeak
def test_marks_of_another_language_are_no_phones():
    ((_, phones),) = speak({"computer": 1}, "fr")
    assert phones[0] == "k" and not any("(" in phone for phone in phones)


@needs_espeak
def test_what_espeak_cannot_say():
    with pytest.raises(UsageError, match=r"xx-yy: .*does not exist(?s:.)*--voices"):
        speak({"tea": 1}, "xx-yy")
    with pytest.raises(WordListError, match=r"says nothing to 1 words:\n    —"):
        speak({"tea": 1, "—": 1}, "en-us")


@needs_espeak
def test_from_text_to_a_lexicon_file(tmp_path):
    (tmp_path / "text.txt").write_text("three one four\n")
    done = command_line.run("lexicon", "make", "text.txt", "--out", "lexicon.txt", cwd=tmp_path)
    assert done.returncode == 0 and "3 words" in done.stderr
    found = {word: phones for _, word, phones in read_entries((tmp_path / "lexicon.txt").read_text().splitlines())}
    assert list(found) == ["four", "one", "three"] and found["three"] == ("θ", "ɹ", "iː")
    done = command_line.run("lexicon", "make", "text.txt", "--dictionary", "none.txt", "--out", "x.txt", cwd=tmp_path)
    assert done.returncode == 1 and "none.txt" in done.stderr and "Traceback" not in done.stderr
