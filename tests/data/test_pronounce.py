"""Lexicons from dictionaries and from espeak-ng."""

import doctest
import shutil

import command_line
import pytest
from spelling_language import dictionary

from edgeseq.data import pronounce
from edgeseq.data.graphones import write_guesser
from edgeseq.data.guesses import by_espeak, by_guesser, by_letters
from edgeseq.data.pronounce import count_words, look_up, read_dictionaries, speak
from edgeseq.errors import UsageError, WordListError
from edgeseq.tokens.packed_lexicon import load_lexicon
from edgeseq.tokens.pronunciations import read_entries

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
    found = [("read", ("R", "EH", "D")), ("read", ("R", "IY", "D")), ("tea", ("T", "IY"))]
    assert look_up({"tea": 1, "read": 2}, read_dictionaries([cmudict])) == (found, [])
    stressed = read_dictionaries([cmudict], stress=True)
    assert look_up({"being": 1}, stressed) == ([("being", ("B", "IY1", "IH0", "NG"))], [])


def test_the_first_dictionary_that_has_a_word_counts(cmudict, tmp_path):
    (tmp_path / "mine.txt").write_text("tea T EY\nsiobhan SH IH V AO N\n")
    known = read_dictionaries([tmp_path / "mine.txt", cmudict])
    found, _ = look_up({"tea": 1, "siobhan": 1, "being": 1}, known)
    assert dict(found) == {"tea": ("T", "EY"), "siobhan": ("SH", "IH", "V", "AO", "N"), "being": ("B", "IY", "IH", "NG")}


def test_words_that_are_nowhere_are_listed(cmudict):
    with pytest.raises(
        WordListError, match=r"lack 2 words:\n    no  \(9 times\)\n    all  \(1 times\)\n  .*--guess.*--dictionary"
    ):
        look_up({"all": 1, "no": 9, "tea": 3}, read_dictionaries([cmudict]))


EVERYTHING = dictionary(600, seed=2)
LISTED = dict(list(EVERYTHING.items())[:500])
NEW = {word: EVERYTHING[word] for word in list(EVERYTHING)[500:]}


@pytest.mark.parametrize("kind", ["letters", "file"])
def test_words_that_are_nowhere_are_guessed(kind, tmp_path):
    write_guesser(LISTED.items(), tmp_path / "x.guesser")
    guess = by_letters if kind == "letters" else by_guesser(tmp_path / "x.guesser")
    counts = dict.fromkeys([*list(LISTED)[:3], *NEW], 1)
    found, guessed = look_up(counts, {word: (phones,) for word, phones in LISTED.items()}, guess)
    assert guessed == sorted(NEW) and [word for word, _ in found] == sorted(counts)
    assert dict(found) == {word: EVERYTHING[word] for word in counts}
    with pytest.raises(WordListError, match=r"nothing can be guessed of 1 words:\n    4x4  \(2 times\)\n  Write them"):
        look_up({"4x4": 2}, {word: (phones,) for word, phones in LISTED.items()}, guess)


@needs_espeak
def test_espeak_guesses_in_the_phones_of_the_dictionaries():
    as_said = speak(dict.fromkeys(EVERYTHING, 1), "de")
    named = {word: (tuple(f"p{ord(phone[0])}" for phone in phones),) for word, phones in as_said}
    known = {word: named[word] for word in LISTED}
    found, guessed = look_up(dict.fromkeys(NEW, 1), known, by_espeak("de"))
    right = sum(phones == named[word][0] for word, phones in dict(found).items())
    assert guessed == sorted(NEW) and right >= 0.95 * len(NEW)


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


def test_guessing_and_packing_as_programs(cmudict, tmp_path):
    def run(*words):
        return command_line.run("lexicon", *words, cwd=tmp_path)

    lines = "".join(f"{word} {' '.join(phones)}\n" for word, phones in LISTED.items())
    (tmp_path / "words.txt").write_text(lines)
    new = next(iter(NEW))
    (tmp_path / "text.txt").write_text(f"{new} {new} {next(iter(LISTED))}\n")
    make = ("make", "text.txt", "--dictionary", "words.txt", "--out", "x.txt")
    refused = run(*make)
    assert refused.returncode == 1 and "--guess letters" in refused.stderr and not (tmp_path / "x.txt").exists()
    assert run(*make[:2], *make[4:], "--guess", "letters").returncode == 2
    done = run("guesser", "words.txt", "--out", "x.guesser")
    assert done.returncode == 0 and "learned from 500 words, 9 phones" in done.stderr
    for how in ("letters", "x.guesser"):
        done = run(*make, "--guess", how)
        assert done.returncode == 0, done.stderr
        assert f"guessed: 1 words, 66.7% of all that is said:\n    {new}  (2 times)\n" in done.stderr
        assert f"{new} {' '.join(NEW[new])}\n" in (tmp_path / "x.txt").read_text()
    done = run("pack", "words.txt", "--out", "x.lexicon")
    assert done.returncode == 0 and "500 words, 500 pronunciations" in done.stderr
    assert dict(load_lexicon(tmp_path / "x.lexicon").items()) == {word: (phones,) for word, phones in LISTED.items()}
    done = run("make", "text.txt", "--dictionary", "x.lexicon", "--guess", "x.guesser", "--out", "y.txt")
    assert done.returncode == 0 and (tmp_path / "y.txt").read_text() == (tmp_path / "x.txt").read_text()
    assert run(*make, "--guess", "none.guesser").returncode == 1
