"""Single words out of sentences."""

import importlib.util
import sys
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from edgeseq.data.cut import Aligner, Span, cut_words
from edgeseq.data.engines import Flite, SynthesisRequest
from edgeseq.data.manifest import Recording, read_manifest
from edgeseq.errors import EdgeseqError, MissingExtraError, UsageError

SENTENCE = "there were seven zwiebelkuchen and one dog at nine"


@pytest.fixture(scope="module")
def sentence(tmp_path_factory):
    """A spoken sentence with a word that no dictionary holds."""
    if not (voices := Flite().voices()):
        pytest.skip("flite is not installed")
    if importlib.util.find_spec("pocketsphinx") is None:
        pytest.skip("pocketsphinx is not installed")
    file = tmp_path_factory.mktemp("sentences") / "s.wav"
    Flite().speak([SynthesisRequest(SENTENCE, voices[-1], 1.0, 0.9)], [file], lambda: False)
    return Recording(file, soundfile.info(file).duration, SENTENCE, speaker="flite")


def test_words_are_cut_where_they_are_said(sentence, tmp_path):
    report = cut_words([sentence], ["One", "seven", "nine", "zero"], tmp_path)
    clips = read_manifest(report.manifest)
    assert [(c.text, c.speaker, c.extra["source"]) for c in clips] == [
        (word, "flite", "s.wav") for word in ("seven", "one", "nine")
    ]
    assert report.n_sentences == 1 and not report.failed
    starts = [clip.extra["source_start"] for clip in clips]
    assert starts == sorted(starts)
    for clip in clips:
        samples, rate = soundfile.read(clip.path)
        assert rate == 16_000 and 0.15 < clip.duration < 1.0
        assert clip.duration == pytest.approx(len(samples) / rate, abs=1e-4)
        assert np.abs(samples).max() > 0.05


def test_alignment_covers_the_text_in_order(sentence):
    samples, _ = soundfile.read(sentence.path, dtype="float32")
    spans = Aligner().align(samples, SENTENCE)
    assert [span.word for span in spans] == SENTENCE.split()
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert spans[-1].end <= len(samples) / 16_000
    assert isinstance(spans[0], Span)


def test_a_sentence_that_cannot_be_cut_is_reported_and_the_rest_goes_on(sentence, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(800), 16_000)
    silent = Recording(tmp_path / "short.wav", 0.05, SENTENCE)
    gone = Recording(tmp_path / "gone.wav", 1.0, "one")
    report = cut_words([silent, gone, sentence], ["one"], tmp_path / "out")
    assert len(report.clips) == 1 and report.n_sentences == 3
    assert "short.wav" in report.failed[0] and "gone.wav" in report.failed[1]
    with pytest.raises(EdgeseqError, match="None of 2 sentences could be cut"):
        cut_words([silent, gone], ["one"], tmp_path / "none")
    assert not (tmp_path / "none" / "manifest.jsonl").exists()


def test_words_that_nobody_says_are_refused(tmp_path):
    with pytest.raises(UsageError, match="holds any of: zero"):
        cut_words([Recording(tmp_path / "a.wav", 1.0, "none at all")], ["zero"], tmp_path)


def test_without_pocketsphinx_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(MissingExtraError, match="pip install pocketsphinx"):
        cut_words([Recording(tmp_path / "a.wav", 1.0, "one")], ["one"], tmp_path)
