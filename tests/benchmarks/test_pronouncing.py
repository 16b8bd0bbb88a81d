"""The bench of guessed pronunciations counts what is wrong."""

from spelling_language import dictionary

from benchmarks import pronouncing
from benchmarks.pronouncing import Score, score, split


def test_words_are_scored_by_their_nearest_variant():
    known = {"a": (("AH",), ("EY",)), "tea": (("T", "IY"),), "sing": (("S", "IH", "NG"),), "x": (("K", "S"),)}
    guesses = {"a": (("EY",),), "tea": (("T", "EY", "AH"), ("T", "IY")), "sing": (("S", "IH"),), "x": ()}
    found = score(list(known), known, guesses)
    assert found == Score(n_words=4, n_phones=8, wrong=3, edits=2 + 1 + 2, none_right=2, guesses=4)
    assert "4 words: 75.0% with a wrong phone, 62.5% of the phones wrong; of 1.00 guesses a word none is right in 50.0%" in str(
        found
    )


def test_what_is_guessed_was_not_learned():
    known = {word: (phones,) for word, phones in dictionary(600, seed=1).items()}
    words, entries = split(known)
    assert {word for word, _ in entries} | set(words) == set(known) and not {word for word, _ in entries} & set(words)
    assert 30 < len(words) < 100


def test_as_a_program(tmp_path, monkeypatch, capsys):
    lines = [f"{word} {' '.join(phones)}\n" for word, phones in dictionary(600, seed=1).items()]
    (tmp_path / "words.txt").write_text("".join(lines))
    monkeypatch.setattr("sys.argv", ["pronouncing", str(tmp_path / "words.txt"), "--words", "20"])
    pronouncing.main()
    assert "letters, 1.5 MB: 20 words: 0.0% with a wrong phone" in capsys.readouterr().out
