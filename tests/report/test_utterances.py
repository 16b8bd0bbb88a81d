"""Error rates by split and speaker, worst utterances, alignments: counted by hand on made-up hearings."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgeseq.data.manifest import Recording
from edgeseq.evaluation.evaluate import compare_texts
from edgeseq.events import Word
from edgeseq.report.utterances import Utterance, align, by_speaker, by_split, confusions, find_splits, worst
from edgeseq.training.recipe_file import parse_recipe

HEARD = [
    ("test", "ann", "one two", "one two"),
    ("test", "ann", "three four", "three for"),
    ("test", None, "five", "five nine nine"),
    ("train", "bob", "six seven", "seven"),
]


@pytest.fixture
def utterances():
    return [
        Utterance(
            split, split == "train", Recording(Path(f"{n}.wav"), 1.0, said, speaker=who), compare_texts(said, heard, 1, 0)
        )
        for n, (split, who, said, heard) in enumerate(HEARD)
    ]


def test_rates(utterances):
    test, train = by_split(utterances)
    assert (test.name, test.clips, test.words, test.errors, test.percent) == ("test", 3, 5, 3, 60.0)
    assert (test.substituted, test.deleted, test.inserted) == (1, 0, 2)
    assert (train.substituted, train.deleted, train.inserted, train.percent) == (0, 1, 0, 50.0)
    assert [(rate.name, rate.percent) for rate in by_speaker(utterances)] == [("(not named)", 200), ("bob", 50), ("ann", 25)]


def test_worst_first(utterances):
    assert [one.recording.path.name for one in worst(utterances, 3)] == ["2.wav", "1.wav", "3.wav"]


def test_confusions(utterances):
    assert confusions(utterances, 9) == [("", "nine", 2), ("four", "for", 1), ("six", "", 1)]


def test_alignment_has_times_of_what_was_heard():
    words = (Word("three", 0.1, 0.4, 1.0), Word("nine", 0.5, 0.9, 0.4), Word("six", 1.0, 1.2, 0.9))
    seen = [(one.said, one.heard, one.kind, one.start) for one in align("three five seven six", "three nine six", words)]
    assert seen[0] == ("three", "three", "right", 0.1) and seen[-1] == ("six", "six", "right", 1.0)
    assert sorted(one[2] for one in seen) == ["deleted", "right", "right", "substituted"]
    assert next(one for one in seen if one[2] == "deleted")[3] is None


def test_splits_of_a_recipe(tone_run, tmp_path):
    manifest = str(tone_run.parent / "data/train.jsonl")
    values = {"name": "tones", "language": "zxx", "license": "CC0-1.0", "data_statement": "tones"}
    values["data"] = {"train": [{"manifest": manifest, "easy": True}], "valid": [str(tmp_path / "gone.jsonl")]}
    (split,), (missing,) = find_splits(parse_recipe(values, "test"), most=5)
    assert split.is_training and (len(split.recordings), split.n_all) == (4, 12) and "gone.jsonl" in missing
