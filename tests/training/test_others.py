"""Other speech in a recipe: heard in training, never written."""

import json

import pytest

pytest.importorskip("torch")

from edgeseq.errors import RecipeError
from edgeseq.tokens.table import TokenTable
from edgeseq.training.flush import draw_clips
from edgeseq.training.tokens import whole_words
from edgeseq.training.trainer import load_batches


@pytest.fixture
def with_others(tone_corpus, tiny_recipe):
    """Make a recipe whose own word is 'a' and whose other speech has the texts given, in turn."""
    lines = [json.loads(line) for line in tone_corpus.read_text().splitlines()]

    def make(*texts, **parts):
        own, others = tone_corpus.parent / "own.jsonl", tone_corpus.parent / "others.jsonl"
        own.write_text("".join(json.dumps(line) + "\n" for line in lines if line["text"] == "a"))
        spoken = [line for line in lines if line["text"] == "b"]
        said = [line | {"text": texts[place % len(texts)]} for place, line in enumerate(spoken)]
        others.write_text("".join(json.dumps(line) + "\n" for line in said))
        sources = [{"manifest": str(own), "easy": True}, {"manifest": str(others), "others": True}]
        return tiny_recipe(data={"train": sources}, **parts)

    return make


def test_other_speech_gives_no_tokens_and_nothing_to_write(with_others):
    batches = load_batches(with_others("something else", ""))
    assert batches.task.symbols == ("<blk>", "▁", "a")
    own, others = batches.sources
    assert len(own.recordings) == len(others.recordings) == 6
    assert {recording.text for recording in others.recordings} == {others.recordings[0].text} == {""}
    batch = batches[5]
    drawn = [clip for row in batches.plan(5).rows for clip in row.clips]
    assert {clip.source for clip in drawn} == {0, 1}
    assert int(batch.targets["lengths"].sum()) == 2 * sum(clip.source == 0 for clip in drawn)  # a word start and a letter


def test_other_speech_with_an_own_word_is_left_out(with_others):
    assert len(load_batches(with_others("b", "say  A now")).sources[1].recordings) == 3
    with pytest.raises(RecipeError, match="every recording holds a word of the other manifests"):
        load_batches(with_others("a"))


def test_other_speech_is_neither_easy_nor_labelled(with_others, tiny_recipe, tone_corpus):
    with pytest.raises(RecipeError, match="take 'easy: true' away"):
        tiny_recipe(data={"train": [{"manifest": str(tone_corpus), "easy": True, "others": True}]})
    with pytest.raises(RecipeError, match="belongs to the task 'ctc'"):
        with_others("b", task={"kind": "frames", "labels": ["a"]})


def test_a_token_stands_for_a_whole_word(with_others):
    tokens = whole_words(["lights", "on", "lights"])
    assert tokens.whole_words == ("lights", "on")
    assert [tokens.symbols[i] for i in tokens.encode("Lights on")] == ["▁lights", "▁on"]
    assert tokens.decode(tokens.encode("on lights")) == "on lights"
    kept = TokenTable.from_details(tokens.symbols, tokens.details)
    assert kept.encode("lights") == tokens.encode("lights") and kept.unknown("off") == ["f"]
    assert TokenTable.of_characters(["on"]).whole_words == ()
    assert load_batches(with_others("b", tokens={"kind": "words"})).task.symbols == ("<blk>", "▁", "a", "▁a")


def test_the_flush_is_measured_on_all_texts_that_take_turns():
    drawn = draw_clips(500)  # yes, no, yes, no: each second clip would be the same word
    assert len(drawn) == len(set(drawn)) == 400 and 150 < sum(number % 2 for number in drawn) < 250
    assert draw_clips(3) == [0, 1, 2]
