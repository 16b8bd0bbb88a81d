"""CMU AN4: the forms that copies of its recordings have, and lines that do not fit."""

import numpy as np
import pytest
import soundfile

from edgeseq.data.corpora import ImportRequest, importer
from edgeseq.data.manifest import read_manifest
from edgeseq.errors import ManifestError

RATE = 16_000
SPEECH = (3000 * np.sin(np.arange(8000) / 20) + np.random.default_rng(0).normal(0, 200, 8000)).astype(np.int16)


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "an4" / "etc").mkdir(parents=True)
    (tmp_path / "an4" / "wav" / "an4_clstk" / "fash").mkdir(parents=True)
    lines(tmp_path / "an4", "<s> U M SIX </s> (an1-fash-b)\n")
    return tmp_path / "an4"


def lines(corpus, content):
    (corpus / "etc" / "an4_train.transcription").write_text(content, encoding="utf-8")


def path(corpus, name):
    return corpus / "wav" / "an4_clstk" / "fash" / name


def bring(corpus):
    return importer("an4")(ImportRequest("an4", corpus.parent / "out", corpus))


@pytest.mark.parametrize("order", ["<i2", ">i2"])
@pytest.mark.parametrize("samples", [SPEECH, SPEECH // 500])
def test_raw_samples_are_written_as_wav(corpus, order, samples):
    path(corpus, "an1-fash-b.raw").write_bytes(samples.astype(order).tobytes())
    for _ in range(2):
        (line,) = read_manifest(next(iter(bring(corpus).manifests)))
    written, rate = soundfile.read(line.path, dtype="int16")
    assert rate == RATE and np.array_equal(written, samples)
    assert line.path == corpus.parent / "out" / "recordings" / "an1-fash-b.wav"
    assert (line.text, line.speaker, line.duration) == ("u m six", "an4_fash", len(samples) / RATE)


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_half_a_raw_sample_is_refused(corpus, content):
    path(corpus, "an1-fash-b.raw").write_bytes(content)
    with pytest.raises(ManifestError, match=r"an1-fash-b.raw: \d bytes are not raw samples(.|\n)*remove it"):
        bring(corpus)


@pytest.mark.parametrize(("best", "other"), [("sph", "wav"), ("wav", "raw")])
def test_of_two_forms_one_is_listed(corpus, best, other):
    soundfile.write(path(corpus, f"an1-fash-b.{best}"), SPEECH, RATE, format="NIST" if best == "sph" else "WAV")
    path(corpus, f"an1-fash-b.{other}").write_bytes(b"another copy")
    (line,) = read_manifest(next(iter(bring(corpus).manifests)))
    assert line.path.name == f"an1-fash-b.{best}"


def test_lines_without_an_id_or_a_recording_are_named(corpus):
    soundfile.write(path(corpus, "an1-fash-b.wav"), SPEECH, RATE)
    path(corpus, "an3-fash-b.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    lines(corpus, "YES (an1-fash-b)\n\nNO\nGO (an2-fash-b)\nSTOP (an3-fash-b)\n")
    left_out = bring(corpus).left_out
    assert left_out[:2] == (
        "an4_train.transcription: line 3 does not end in the id of a recording, such as (an251-fash-b)",
        "train: 1 of 3 lines, whose files are not in wav/an4_clstk/",
    )
    assert len(left_out) == 3 and "an3-fash-b.wav" in left_out[2]


def test_a_copy_of_features_alone_is_refused(corpus):
    path(corpus, "an1-fash-b.mfc").write_bytes(b"cepstra")
    with pytest.raises(ManifestError, match=r"no recording(.|\n)*1 of 1 lines, whose files are not in wav/an4_clstk/"):
        bring(corpus)
