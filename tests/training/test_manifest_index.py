"""Manifests left on disk: what training draws from them is what memory would give, and memory holds little of them."""

import dataclasses
import json
import pickle
import sys

import numpy as np
import pytest
import torch

from edgeseq.data.manifest import read_manifest, write_manifest
from edgeseq.errors import ManifestError
from edgeseq.tokens.table import TokenTable
from edgeseq.training import clips
from edgeseq.training.batches import JoinedBatches
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.sources import pick_source
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.trainer import load_batches


def same(one, other):
    parts = [(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)]
    named = [(a, b) if isinstance(a, dict) else ({"": a}, {"": b}) for a, b in parts]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in named)


def test_an_index_gives_what_reading_gives(tone_corpus, tmp_path):
    lines = tone_corpus.read_text().splitlines()
    manifest = tone_corpus.with_name("gaps.jsonl")
    manifest.write_text(
        "\n\n" + "\n\n".join(lines).replace('"text": "a"', '"text": "ä\\u2028 日本"') + "\n \n", encoding="utf-8"
    )
    index, recordings = ManifestIndex.of(manifest), read_manifest(manifest)
    assert list(index) == recordings and len(index) == len(recordings)
    assert [index[number] for number in range(len(index))] == recordings
    assert list(index.texts()) == [recording.text for recording in recordings]
    assert list(index.take(np.array([3, 0]))) == [recordings[3], recordings[0]]
    assert list(pickle.loads(pickle.dumps(index))) == recordings


def test_batches_are_those_of_recordings_in_memory(tiny_recipe, tone_corpus):
    recipe = tiny_recipe()
    batches = load_batches(recipe)
    tokens = batches.task.tokens
    seconds_per_token = recipe.data.min_rows_per_token * recipe.row_units / recipe.frontend.sample_rate
    source = pick_source(recipe.data.train[0], read_manifest(tone_corpus), Task(tokens, seconds_per_token))
    assert isinstance(batches.sources[0].recordings, ManifestIndex) and isinstance(source.recordings, tuple)
    held = JoinedBatches([source], recipe, batches.task)
    assert all(same(batches[step], held[step]) for step in range(8))


def test_memory_holds_numbers_alone(tone_corpus, tiny_recipe):
    """Sixteen bytes a recording: where its line begins, and how long it is."""
    manifest = tone_corpus.with_name("many.jsonl")
    manifest.write_text(tone_corpus.read_text() * 500, encoding="utf-8")
    recipe = tiny_recipe().data.train[0]
    source = pick_source(recipe, ManifestIndex.of(manifest), Task(TokenTable.of_characters("ab"), 0.0))
    assert len(source.recordings) == 6000
    held = [source.recordings.begins, source.durations]
    assert sum(array.nbytes for array in held) == 16 * 6000
    pickled = pickle.dumps(source)
    assert len(pickled) < 16 * 6000 + 5000
    assert sys.getsizeof(source.recordings.begins) >= 8 * 6000  # a copy, not a view of something larger


def test_a_manifest_that_changes_during_a_training_is_told(tiny_recipe, tone_corpus, tmp_path):
    manifest = tmp_path / "train.jsonl"
    write_manifest(manifest, read_manifest(tone_corpus))
    recipe = tiny_recipe(data={"train": [{"manifest": str(manifest), "easy": True}]})
    batches = load_batches(recipe)
    assert len(batches[3].targets)
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(ManifestError, match=r"has changed since(.|\n)*--resume"):
        batches[4]
    manifest.unlink()
    with pytest.raises(ManifestError, match="cannot be read any more"):
        batches[4]


def test_faults_are_found_before_a_training(tiny_recipe, tone_corpus):
    manifest = tone_corpus.with_name("faulty.jsonl")
    lines = tone_corpus.read_text().splitlines()
    manifest.write_text("\n".join([*lines, '{"text": "a"}', json.dumps({"audio_filepath": "x", "duration": 1, "text": "a"})]))
    with pytest.raises(ManifestError, match=r"3 faults(.|\n)*line 13: 'audio_filepath'(.|\n)*line 14: no audio file"):
        load_batches(tiny_recipe(data={"train": [{"manifest": str(manifest), "easy": True}]}))


def test_clips_are_kept_while_memory_is_left(tiny_recipe, monkeypatch):
    monkeypatch.setattr(clips, "share_left", lambda: 0.6)
    batches = load_batches(tiny_recipe())
    batches[3]
    assert batches.reader._cache
    for left in (0.4, None):  # another program took it; the system does not say
        monkeypatch.setattr(clips, "share_left", lambda left=left: left)
        shorter = load_batches(tiny_recipe())
        assert same(batches[3], shorter[3])
        assert not shorter.reader._cache


def test_what_is_kept_stays_when_memory_grows_short(tiny_recipe, monkeypatch):
    shares = iter([0.6, 0.4])
    monkeypatch.setattr(clips, "share_left", lambda: next(shares))
    monkeypatch.setattr(clips, "ASKED_SAMPLES", 0)  # asked before each clip, and never again once it is short
    batches = load_batches(tiny_recipe())
    first, second, third = (batches.sources[0].recordings[number] for number in range(3))
    heard = [batches.reader.read(one) for one in (first, second, third)]
    assert len(batches.reader._cache) == 1
    assert (batches.reader.read(first) == heard[0]).all()
