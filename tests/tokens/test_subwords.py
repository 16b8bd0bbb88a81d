"""Words cut to pieces without sentencepiece, as sentencepiece cuts them."""

import doctest
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.decoding.beam import BeamDecoder
from edgeseq.decoding.fusion import Fusion
from edgeseq.decoding.hotwords import Hotword, Hotwords
from edgeseq.decoding.lexicon import Lexicon
from edgeseq.tokens import subwords
from edgeseq.tokens.table import WORD_START, TokenTable

PIECES = ("<blk>", "▁", "▁t", "e", "a", "t", "ea", "▁tea", "▁te")
TABLE = TokenTable(PIECES, scores=(0.0, -3.0, -4.0, -2.0, -2.0, -2.5, -3.5, -9.0, -4.5))
WAYS = [["▁", "t", "e", "a"], ["▁t", "ea"], ["▁tea"], ["▁te", "a"], ["▁", "t", "ea"]]


def test_doctests():
    assert doctest.testmod(subwords).failed == 0


@cache
def chosen(seed, size):
    """Pieces that sentencepiece itself chooses for words of four letters, and its own processor of them."""
    import io
    import random

    import sentencepiece

    dice = random.Random(seed)
    words = sorted({"".join(dice.choices("abcä", k=dice.randint(1, 9))) for _ in range(60)})
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 2), model_writer=model, vocab_size=size, hard_vocab_limit=False, character_coverage=1.0,
        normalization_rule_name="identity", bos_id=-1, eos_id=-1, pad_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    numbers = range(1, processor.get_piece_size())
    pieces = [processor.id_to_piece(number) for number in numbers]
    return processor, subwords.Segmenter(pieces, [float(f"{processor.get_score(number):.9g}") for number in numbers])


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 9), size=st.sampled_from([12, 20, 40, 80]), word=st.text("abcä", min_size=1, max_size=40))
def test_words_are_cut_as_sentencepiece_cuts_them(seed, size, word):
    pytest.importorskip("sentencepiece")
    processor, segmenter = chosen(seed, size)
    assert list(segmenter.segment(WORD_START + word)) == processor.encode(word, out_type=str)


def test_what_no_pieces_spell_is_refused():
    with pytest.raises(ValueError, match="no pieces spell '▁q'"):
        subwords.Segmenter(["▁", "a"], [-1, -1]).segment("▁q")


def ids(way):
    return [TABLE.ids[piece] for piece in way]


def test_texts_are_spelled_and_read():
    assert TABLE.encode("Tea  tea") == ids(["▁te", "a", "▁te", "a"])  # -6.5 in all, against -7.5 and -9
    assert {TABLE.decode(ids(way)) for way in WAYS} == {"tea"}
    assert TABLE.decode(ids(["▁t", "e", "▁tea"])) == "te tea" and TABLE.unknown("tee q") == ["q"]


@pytest.mark.parametrize("way", WAYS)
def test_hotwords_are_heard_in_whatever_pieces(way):
    hotwords = Hotwords([Hotword("tea", 2.0)], TABLE)
    node, total = 0, 0.0
    for token in ids(way):
        added, node = hotwords.step(node, token)
        total += added
    assert total + hotwords.end(node) == 6.0


@pytest.mark.parametrize("way", WAYS)
def test_a_lexicon_has_words_in_whatever_pieces(way):
    fusion = Fusion(TABLE, lexicon=Lexicon([("tea", "TEA")]))
    state, added = fusion.start(), 0.0
    for token in ids(way):
        share, state = fusion.extend(state, token)
        added += share
    assert added + fusion.end(state) == 0.0
    assert fusion.extend(fusion.start(), TABLE.ids["ea"])[0] == -float("inf")
    assert BeamDecoder(fusion, 0.04).final(BeamDecoder(fusion, 0.04).init_state()) is None


@pytest.mark.parametrize("way", WAYS)
def test_phrases_are_found_in_whatever_pieces(way):
    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.file import parse_phrases

    graph = compile_phrases(parse_phrases("intents: {x: [tea tea, tat]}"), TABLE)
    wanted, node = ids(way + WAYS[0]), 0
    arcs = []
    for token in wanted:
        (arc,) = [a for a in range(graph.first_arc[node], graph.first_arc[node + 1]) if graph.label[graph.target[a]] == token]
        arcs.append(arc)
        node = graph.target[arc]
    assert [word.text for word in graph.read(arcs).words] == ["tea", "tea"] and graph.end_weight[node] == 0
