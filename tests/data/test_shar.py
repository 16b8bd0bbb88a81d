"""Lhotse Shar archives: written, indexed, read by Lhotse and by training, sample for sample."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.data.check import check
from edgeseq.data.clips import read_clip
from edgeseq.data.manifest import Recording, find_data, read_manifest, write_manifest
from edgeseq.data.shar import index_shar, write_shar
from edgeseq.errors import AudioError, ManifestError, UsageError

lhotse = pytest.importorskip("lhotse")

RATE = 8000


def noise(seconds, seed, channels=1):
    return np.random.default_rng(seed).integers(-30000, 30000, size=(int(seconds * RATE), channels), dtype=np.int16)


@pytest.fixture
def manifest(tmp_path):
    recordings = []
    for number in range(5):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, noise(0.5, number, channels=1 + number % 2), RATE)
        recordings.append(Recording(path, 0.5, f"text {number}", speaker=f"s{number}", extra={"lang": "en"}))
    soundfile.write(tmp_path / "long.wav", noise(3.0, 9), RATE)
    recordings += [Recording(tmp_path / "long.wav", 0.75, f"part {start}", start) for start in (0.5, 1.25)]
    write_manifest(tmp_path / "train.jsonl", recordings)
    return tmp_path / "train.jsonl"


def run(*arguments):
    return CliRunner().invoke(app, ["data", "shar", *map(str, arguments)])


def test_what_is_written_is_read_sample_for_sample(manifest, tmp_path):
    result = run(manifest, "--out", tmp_path / "shar", "--shard-size", 3)
    assert result.exit_code == 0, result.output
    assert "7 recordings" in result.stderr
    assert sorted(path.name for path in (tmp_path / "shar").glob("*.tar")) == [f"recording.00000{n}.tar" for n in range(3)]
    was, now = read_manifest(manifest), read_manifest(find_data(tmp_path / "shar"))
    assert [(r.text, r.speaker, r.duration, r.extra) for r in now] == [(r.text, r.speaker, r.duration, r.extra) for r in was]
    for before, after in zip(was, now, strict=True):
        assert after.within is not None
        np.testing.assert_array_equal(read_clip(after, RATE), read_clip(before, RATE))


def test_lhotse_reads_them(manifest, tmp_path):
    pytest.importorskip("edgeseq.training.torchaudio_import")  # by which Lhotse reads what lies in memory
    write_shar(read_manifest(manifest), tmp_path / "shar", shard_size=3)
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path / "shar"))
    assert [cut.supervisions[0].text for cut in cuts] == [r.text for r in read_manifest(manifest)]
    assert cuts[0].load_audio().shape == (1, 4000)


def test_archives_that_others_wrote_are_indexed(manifest, tmp_path):
    """Two utterances in one cut, one without words, as Lhotse writes them."""
    whole = lhotse.Recording.from_file(tmp_path / "long.wav")
    cut = whole.to_cut().truncate(offset=1.0, duration=2.0)
    said = [("one", 0.25, 0.5), (None, 0.8, 0.1), ("two", 1.0, 0.75)]
    cut.supervisions = [
        lhotse.SupervisionSegment(str(n), "long", start, duration, text=text) for n, (text, start, duration) in enumerate(said)
    ]
    (tmp_path / "shar").mkdir()
    lhotse.CutSet.from_cuts([cut]).to_shar(tmp_path / "shar", {"recording": "wav"}, shard_size=10)
    with pytest.raises(ManifestError, match=r"without an index(.|\n)*--index"):
        find_data(tmp_path / "shar")
    assert run("--index", tmp_path / "shar").exit_code == 0
    one, two = read_manifest(find_data(tmp_path / "shar"))
    assert (one.text, one.offset, two.text, two.offset) == ("one", 0.25, "two", 1.0)
    samples, _ = soundfile.read(tmp_path / "long.wav", dtype="float32")
    np.testing.assert_array_equal(read_clip(two, RATE), samples[2 * RATE : int(2.75 * RATE)])


def test_training_hears_the_same_from_archives(manifest, tmp_path):
    torch = pytest.importorskip("torch")
    from edgeseq.training.recipe_file import parse_recipe
    from edgeseq.training.trainer import load_batches

    def batches(data):
        train = {"steps": 40, "batch_size": 3, "easy_steps": 2, "ramp_steps": 2}
        about = {"name": "n", "language": "en", "license": "CC0-1.0", "data_statement": "noise"}
        return load_batches(
            parse_recipe(about | {"data": {"train": [{"manifest": str(data), "easy": True}]}, "train": train}, "here")
        )

    write_shar(read_manifest(manifest), tmp_path / "shar", shard_size=3)
    for step in (0, 3, 30):
        files, archives = batches(manifest)[step], batches(tmp_path / "shar")[step]
        assert torch.equal(files.audio, archives.audio) and torch.equal(files.rows, archives.rows)
        assert all(torch.equal(tensor, archives.targets[name]) for name, tensor in files.targets.items())
    assert "at byte" in batches(tmp_path / "shar").clip_names(0)[0]


def test_archives_are_checked_as_files_are(manifest, tmp_path):
    write_shar(read_manifest(manifest), tmp_path / "shar")
    assert not check(find_data(tmp_path / "shar"), decode=False).findings
    shared = check(find_data(tmp_path / "shar"), [manifest]).counts
    assert shared["in the test set"] == 7 and shared["speaker in the test set"] == 5


def test_archives_that_are_cut_short_are_told(manifest, tmp_path):
    write_shar(read_manifest(manifest), tmp_path / "shar")
    recordings = read_manifest(find_data(tmp_path / "shar"))
    archive = tmp_path / "shar" / "recording.000000.tar"
    archive.write_bytes(archive.read_bytes()[:20000])
    with pytest.raises(AudioError, match=r"ends before byte(.|\n)*--index"):
        read_clip(recordings[-1], RATE)
    assert check(find_data(tmp_path / "shar")).stops
    with pytest.raises(ManifestError, match=r"damaged or cut short|holds no sound"):
        index_shar(tmp_path / "shar")
    archive.unlink()
    with pytest.raises(ManifestError, match=r"recording.000000.tar: is missing"):
        index_shar(tmp_path / "shar")


def test_cuts_that_are_damaged_are_told(manifest, tmp_path):
    write_shar(read_manifest(manifest), tmp_path / "shar")
    cuts = tmp_path / "shar" / "cuts.000000.jsonl.gz"
    whole = cuts.read_bytes()
    for content in (whole[:100], b"no gzip", gzip.compress(b"[1, 2]\n"), gzip.compress(b"{\n")):
        cuts.write_bytes(content)
        with pytest.raises(ManifestError, match=r"cuts.000000.jsonl.gz: cannot be read"):
            index_shar(tmp_path / "shar")
    cuts.write_bytes(gzip.compress(json.dumps({"id": "other", "duration": 1, "supervisions": []}).encode()))
    with pytest.raises(ManifestError, match="holds no sound of 'other'"):
        index_shar(tmp_path / "shar")


def test_nothing_half_written_is_left(manifest, tmp_path):
    (tmp_path / "3.flac").write_bytes(b"fLaC")
    with pytest.raises(ManifestError, match=r"3.flac: cannot be read(.|\n)*data check"):
        write_shar(read_manifest(manifest), tmp_path / "shar")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_is_no_sound_is_told_in_words(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"nothing of the kind")
    with pytest.raises(ManifestError, match=r"x.wav: cannot be read as sound \(Format not recognised\)"):
        write_shar([Recording(tmp_path / "x.wav", 1.0, "x")], tmp_path / "shar")
    assert not (tmp_path / "shar").exists()


def test_wrong_usage(manifest, tmp_path):
    assert run().exit_code == 2
    assert run(manifest).exit_code == 2
    assert run("--index", tmp_path, "--out", tmp_path / "x").exit_code == 2
    assert run("--index", tmp_path).exit_code == 1
    assert run(manifest, "--out", tmp_path).exit_code == 2
    with pytest.raises(UsageError, match="Choose from: flac, wav"):
        write_shar(read_manifest(manifest), tmp_path / "x", audio_format="mp3")
    write_shar(read_manifest(manifest), tmp_path / "y")
    with pytest.raises(ManifestError, match="archive already"):
        write_shar(read_manifest(find_data(tmp_path / "y")), tmp_path / "z")


@pytest.mark.parametrize("within", ["5", "[1]", "[-1, 5]", "[1.5, 2]", "[true, 2]"])
def test_wrong_places_within_archives_are_faults(tmp_path, within):
    line = f'{{"audio_filepath": "a.tar", "duration": 1, "text": "a", "within": {within}}}\n'
    (tmp_path / "m.jsonl").write_text(line)
    with pytest.raises(ManifestError, match="'within' is"):
        read_manifest(tmp_path / "m.jsonl", check_files=False)
