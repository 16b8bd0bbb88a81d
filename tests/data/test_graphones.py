"""Letters aligned to phones, against all alignments written out; and what is learned of a made-up language."""

import doctest
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelling_language import dictionary

from edgeseq.data import graphones
from edgeseq.data.graphones import SHAPES, Lattice, align, train, write_guesser
from edgeseq.errors import WordListError
from edgeseq.lm.guesser import load_guesser


def test_doctests():
    assert doctest.testmod(graphones).failed == 0


def alignments(lattice: Lattice):
    """Write out all ways through a lattice, as numbers of arcs."""

    def onwards(place):
        if place == lattice.n_places - 1:
            yield []
        for number, (start, after, _, _) in enumerate(lattice.arcs):
            if start == place and place != lattice.n_places - 1:
                yield from ([number, *rest] for rest in onwards(after))

    return list(onwards(0))


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 6), st.integers(0, 10**6))
def test_expectations_and_the_likeliest_are_those_of_all_alignments(n_letters, n_phones, seed):
    lattice = Lattice(n_letters, n_phones)
    probability = np.random.default_rng(seed).uniform(0.01, 1.0, (len(lattice.arcs), 2))
    ways = alignments(lattice)
    for entry, found in enumerate(lattice.likeliest(probability)):
        weights = [math.prod(probability[way, entry]) for way in ways]
        expected = np.zeros(len(lattice.arcs))
        for way, weight in zip(ways, weights, strict=True):
            expected[way] += weight / sum(weights)
        assert np.allclose(lattice.expected(probability)[:, entry], expected)
        assert found == (ways[int(np.argmax(weights))] if ways else [])


def test_arcs_spell_the_entry():
    lattice = Lattice(3, 2)
    for way in alignments(lattice):
        pairs = [lattice.pairs(("the", ("DH", "AH")))[arc].split() for arc in way]
        assert "".join(letters for letters, *_ in pairs) == "the"
        assert [phone for _, *phones in pairs for phone in phones] == ["DH", "AH"]
        assert all((len(letters), len(phones)) in SHAPES for letters, *phones in pairs)


def test_pairs_are_found():
    aligned = {"".join(unit.split()[0] for unit in units): units for units in align(dictionary(400, seed=1).items())}
    for written, units in list(aligned.items())[:100]:
        assert ("sh SH" in units) == ("sh" in written) and ("x K S" in units) == ("x" in written)


def test_abbreviations_are_left_out():
    assert align([("mr", ("M", "IH", "S", "T", "ER")), ("a", ("AH",))]) == [["a AH"]]
    with pytest.raises(WordListError, match=r"no word of letters that can stand for its phones; wanted some thousand words"):
        train([("mr", ("M", "IH", "S", "T", "ER"))])


def test_words_that_were_not_learned_are_guessed(tmp_path):
    everything = dictionary(900, seed=2)
    learned, new = dict(list(everything.items())[:800]), dict(list(everything.items())[800:])
    write_guesser(learned.items(), tmp_path / "x.guesser")
    guesser = load_guesser(tmp_path / "x.guesser")
    assert [guesser.ways(word)[0] for word in new] == list(new.values())


def test_the_file_is_as_small_as_asked(tmp_path):
    dice = random.Random(3)
    noise = {word: tuple(dice.choice("ABCDE") for _ in word) for word in dictionary(2000, seed=3)}
    write_guesser(noise.items(), tmp_path / "large", size_mb=9)
    write_guesser(noise.items(), tmp_path / "small", size_mb=0.02)
    assert (tmp_path / "small").stat().st_size <= 20_000 < (tmp_path / "large").stat().st_size
    assert load_guesser(tmp_path / "small").ways("shadoxume")
