import pytest

from edgeseq.decoding.hotwords import Hotword, Hotwords, parse_hotword, read_hotwords
from edgeseq.errors import WordListError
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz"])


def earned(hotwords, text):
    """Nats after each token of `text`, and after its end."""
    node, total, steps = 0, 0.0, []
    for token in TOKENS.encode(text):
        added, node = hotwords.step(node, token)
        total += added
        steps.append(total)
    return [*steps, total + hotwords.end(node)]


def test_letters_earn_at_once_and_lose_it_when_the_phrase_breaks_off():
    hotwords = Hotwords([Hotword("ann", 2.0)], TOKENS)
    assert earned(hotwords, "ann") == [0, 2, 4, 6, 6]
    assert earned(hotwords, "and") == [0, 2, 4, 0, 0]
    assert earned(hotwords, "anna") == [0, 2, 4, 6, 0, 0]  # another word
    assert earned(hotwords, "joann")[-1] == 0  # another word, too
    assert earned(hotwords, "an")[-1] == 0
    assert earned(hotwords, "ann or ann")[-1] == 12


def test_phrases_may_begin_and_end_in_each_other():
    hotwords = Hotwords([Hotword("new york", 1.0), Hotword("york city", 0.5), Hotword("new", 0.25)], TOKENS)
    assert earned(hotwords, "new york")[-1] == 7 + 0.75
    assert earned(hotwords, "new york city")[-1] == 7 + 0.75 + 4
    assert earned(hotwords, "new yorker city")[-1] == 0.75


def test_ten_thousand_are_fine():
    letters = "abcdefghij"
    phrases = [f"{a}{b}{c} {d}" for a in letters for b in letters for c in letters for d in letters]
    hotwords = Hotwords([Hotword(phrase) for phrase in phrases], TOKENS)
    assert earned(hotwords, "abc d")[-1] == 4 * 1.5
    assert earned(hotwords, "abc z")[-1] == 0


def test_files(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# people\nSiobhan : 2\nnew  York\n\nada:1 # Lovelace\n")
    assert read_hotwords(path) == [Hotword("siobhan", 2.0), Hotword("new york"), Hotword("ada", 1.0)]


def test_identity_is_of_phrases_and_boosts():
    one, other = Hotword("a", 1.0), Hotword("b", 1.0)
    same = {Hotwords(words, TOKENS).identity for words in ([one, other], [other, one])}
    assert len(same) == 1 and Hotwords([one, Hotword("b", 2.0)], TOKENS).identity not in same


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("# nothing\n\n", ["no hotwords in it"]),
        ("ada\nbob\nAda:2\n", ["1 faults", ":3: 'ada' is in line 1 already"]),
        ("ada:much\n:2\n", ["2 faults", ":1: 'ada:much': the boost is 'much'", ":2: a boost without a phrase"]),
    ],
)
def test_files_with_faults(tmp_path, content, messages):
    path = tmp_path / "names.txt"
    path.write_text(content)
    with pytest.raises(WordListError) as caught:
        read_hotwords(path)
    assert all(message in str(caught.value) for message in messages)


def test_what_is_no_text(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"ada\n\xff\n")
    with pytest.raises(WordListError, match="byte 5 is not UTF-8"):
        read_hotwords(path)


@pytest.mark.parametrize(
    ("hotwords", "message"),
    [
        ([Hotword(" ")], "' ': no words"),
        ([Hotword("ada"), Hotword("ada", 2.0)], "'ada': given twice"),
        ([Hotword("ada", 0.0)], "boost 0.0; wanted above 0, at most 20"),
        ([Hotword("ada", 21.0)], "boost 21.0"),
        ([Hotword("r2d2")], "'r2d2': no token spells '2'"),
        ([Hotword("ada")] * 100_001, "100,001 hotwords; wanted at most 100,000"),
        ([Hotword(f"{n}") for n in range(20)], r"20 faults(.|\n)*and 10 more"),
    ],
)
def test_hotwords_that_cannot_be(hotwords, message):
    with pytest.raises(WordListError, match=message):
        Hotwords(hotwords, TOKENS)


def test_a_boost_that_is_no_number():
    with pytest.raises(WordListError, match="the boost is 'x'; wanted a number"):
        parse_hotword("ada:x")
