"""Importing: small made-up corpora in the layout of each, their archives, and what goes wrong with them."""

import gzip
import io
import json
import shutil
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from edgeseq.data import public_corpora
from edgeseq.data.archives import unpack
from edgeseq.data.corpora import MODULES, ImportRequest, importer, only_words
from edgeseq.data.download import digest_of, download
from edgeseq.data.manifest import read_manifest
from edgeseq.data.public_corpora import CORPORA, Archive
from edgeseq.errors import EdgeseqError, ManifestError, UsageError

pytest.importorskip("lhotse")

RATE = 16000


def sound(path, seconds=0.3, channels=1, **form):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.1 * np.sin(np.arange(int(seconds * RATE)) / 7)
    soundfile.write(path, np.stack([tone] * channels, axis=1), RATE, **form)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def librispeech(root, parts=("train-clean-100", "dev-clean")):
    for part, speaker in zip(parts, ("19", "84"), strict=True):
        chapter = root / "LibriSpeech" / part / speaker / "198"
        for number in range(2):
            sound(chapter / f"{speaker}-198-000{number}.flac")
        text(chapter / f"{speaker}-198.trans.txt", f"{speaker}-198-0000 NORTHANGER ABBEY\n{speaker}-198-0001 HE SAID\n")
    return dict.fromkeys(parts, 2), {"northanger abbey", "he said"}, {"19", "84"}


def minilibrispeech(root):
    return librispeech(root, ("train-clean-5", "dev-clean-2"))


def speechocean762(root):
    corpus = root / "speechocean762"
    for split, speaker in (("train", "0001"), ("test", "0003")):
        names = [f"{speaker}{number:05d}" for number in (11, 35)]
        for name in names:
            sound(corpus / "WAVE" / f"SPEAKER{speaker}" / f"{name}.WAV")
        text(corpus / split / "wav.scp", "".join(f"{name}\tWAVE/SPEAKER{speaker}/{name}.WAV\n" for name in names))
        text(corpus / split / "text", f"{names[0]}\tWE CALL IT BEAR\n{names[1]}\tIT'S ZERO\n")
        text(corpus / split / "utt2spk", "".join(f"{name} {speaker}\n" for name in names))
        text(corpus / split / "spk2age", f"{speaker} 6\n")
        text(corpus / split / "spk2gender", f"{speaker} m\n")
    return {"train": 2, "test": 2}, {"we call it bear", "it's zero"}, {"so762_0001", "so762_0003"}


def an4(root):
    for split, folder, speaker in (("train", "an4_clstk", "fash"), ("test", "an4test_clstk", "fcaw")):
        for name in ("an251", "cen7"):
            sound(root / "an4" / "wav" / folder / speaker / f"{name}-{speaker}-b.sph", format="NIST")
        lines = f"<s> YES </s> (an251-{speaker}-b)\nU M SIX (cen7-{speaker}-b)\n"
        text(root / "an4" / "etc" / f"an4_{split}.transcription", lines)
    return {"train": 2, "test": 2}, {"yes", "u m six"}, {"an4_fash", "an4_fcaw"}


def commonvoice(root):
    columns = (
        "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
    )
    for split, n in (("train", 2), ("dev", 1), ("test", 0)):
        rows = [columns.replace(" ", "\t")]
        for i in range(n):
            sound(root / "cv-corpus-21" / "eu" / "clips" / f"{split}_{i}.mp3")
            rows.append(
                "\t".join([f"who{i}", f"{split}_{i}.mp3", "s", 'Bat, "bi', "", "2", "0", "teens", "", "Gipuzkoa", "", "eu", ""])
            )
        text(root / "cv-corpus-21" / "eu" / f"{split}.tsv", "\n".join(rows) + "\n")
    return {"eu/train": 2, "eu/dev": 1}, {'Bat, "bi'}, {"who0", "who1"}


def speechcommands(root):
    main, test = root / "speech_commands_v0.02", root / "speech_commands_test_set_v0.02"
    for speaker in ("0a", "0b", "0c"):
        sound(main / "yes" / f"{speaker}_nohash_0.wav")
    for name in ("running_tap.wav", "white.wav"):
        sound(main / "_background_noise_" / name)
    text(main / "validation_list.txt", "yes/0b_nohash_0.wav\n")
    text(main / "testing_list.txt", "yes/0c_nohash_0.wav\n")
    sound(test / "yes" / "0c_nohash_0.wav")
    sound(test / "_silence_" / "1.wav")
    sound(test / "_unknown_" / "cat_0d_nohash_0.wav")
    return {"train": 1, "valid": 1, "test": 2}, {"yes", "cat"}, {"0a", "0b", "0c", "0d"}


def ljspeech(root):
    folder = root / "LJSpeech-1.1"
    for number in range(2):
        sound(folder / "wavs" / f"LJ001-000{number}.wav")
    text(folder / "metadata.csv", "LJ001-0000|in 1440,|in fourteen forty,\nLJ001-0001|Dr. X|Doctor X\n")
    return {"all": 2}, {"in fourteen forty,", "Doctor X"}, {None}


def vctk(root):
    text(root / "speaker-info.txt", "ID AGE GENDER ACCENTS REGION\np225 23 F English Southern England\n")
    for number in ("001", "002"):
        sound(root / "wav48_silence_trimmed" / "p225" / f"p225_{number}_mic2.flac")
        text(root / "txt" / "p225" / f"p225_{number}.txt", f"Please call Stella {number}.\n")
    return {"all": 2}, {"Please call Stella 001.", "Please call Stella 002."}, {"p225"}


def aishell(root):
    for split, speaker in (("train", "S0002"), ("dev", "S0724"), ("test", "S0764")):
        sound(root / "data_aishell" / "wav" / split / speaker / f"BAC009{speaker}W0001.wav")
    lines = [f"BAC009{speaker}W0001 而 对 楼市" for speaker in ("S0002", "S0724", "S0764")]
    text(root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", "\n".join(lines) + "\n")
    return {"train": 1, "dev": 1, "test": 1}, {"而对楼市"}, {"S0002", "S0724", "S0764"}


def kaldi(root):
    for split in ("train", "test"):
        wavs = [sound(root / "wav" / f"{split}{number}.wav", 1.0) for number in range(2)]
        folder = root / "data" / split
        text(folder / "wav.scp", "".join(f"r{n} {wav}\n" for n, wav in enumerate(wavs)))
        text(folder / "segments", "u0 r0 0.1 0.4\nu1 r0 0.5 0.9\nu2 r1 0.0 0.8\n")
        text(folder / "text", "u0 one two\nu1 three\nu2 four\n")
        text(folder / "utt2spk", "u0 anna\nu1 ben\nu2 ben\n")
    return {"train": 3, "test": 3}, {"one two", "three", "four"}, {"anna", "ben"}


def nemo(root):
    for split in ("train", "dev"):
        path = sound(root / "audio" / f"{split}.wav")
        lines = [{"audio_filepath": str(path), "duration": 0.3, "text": "hello there", "lang": "en"}]
        text(root / f"{split}.json", "".join(json.dumps(line) + "\n" for line in lines))
    return {"train": 1, "dev": 1}, {"hello there"}, {None}


def lhotse(root):
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet

    recordings = RecordingSet.from_recordings([Recording.from_file(sound(root / "a.wav", 1.0), recording_id="a")])
    spoken = [
        SupervisionSegment("s0", "a", 0.1, 0.3, text="one", speaker="anna"),
        SupervisionSegment("s1", "a", 0.5, 0.4, text="two", speaker="anna"),
    ]
    recordings.to_file(root / "x_recordings_train.jsonl.gz")
    SupervisionSet.from_segments(spoken).to_file(root / "x_supervisions_train.jsonl.gz")
    cuts = CutSet.from_manifests(recordings=recordings, supervisions=SupervisionSet.from_segments(spoken))
    cuts.trim_to_supervisions().to_eager().to_file(root / "dev_cuts.jsonl.gz")
    return {"train": 2, "dev": 2}, {"one", "two"}, {"anna"}


def huggingface(root):
    import datasets

    def split(texts):
        wavs = [{"bytes": sound(root.parent / "w.wav").read_bytes(), "path": "w.wav"} for _ in texts]
        made = datasets.Dataset.from_dict({"audio": wavs, "label": list(texts), "speaker_id": [7] * len(texts)})
        made = made.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
        return made.cast_column("audio", datasets.Audio())

    datasets.DatasetDict({"train": split([0, 1]), "test": split([1])}).save_to_disk(str(root))
    return {"train": 2, "test": 1}, {"no", "yes"}, {"7"}


def folder(root):
    for split in ("train", "test"):
        for name in ("a", "b"):
            text(sound(root / split / "anna" / f"{name}.flac").with_suffix(".txt"), "hello\n")
    sound(root / "train" / "alone.wav")
    return {"train": 2, "test": 2}, {"hello"}, {None}


LAYOUTS = {
    made.__name__: made
    for made in (
        librispeech,
        minilibrispeech,
        speechocean762,
        an4,
        commonvoice,
        speechcommands,
        ljspeech,
        vctk,
        aishell,
        kaldi,
        nemo,
        lhotse,
        huggingface,
        folder,
    )
}


def bring(name, tmp_path, source, **words):
    return importer(name)(ImportRequest(name, tmp_path / "out", source, **words))


def check(imported, out, expected):
    counts, texts, speakers = expected
    assert {path.relative_to(out).with_suffix("").as_posix(): n for path, n in imported.manifests.items()} == counts
    lines = [line for path in imported.manifests for line in read_manifest(path)]
    assert len(lines) == sum(counts.values())
    known = imported.licence in {corpus.licence for corpus in CORPORA.values()}
    assert {line.extra.get("licence") for line in lines} == {imported.licence if known else None}
    assert {line.text for line in lines} == texts and {line.speaker for line in lines} == speakers
    for line in lines:
        about = soundfile.info(line.path)
        assert line.duration > 0 and line.offset + line.duration <= about.frames / about.samplerate + 0.05


def test_every_corpus_has_a_layout_here():
    assert set(LAYOUTS) | {"fsdd"} == set(MODULES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_gives_a_manifest_for_each_split(name, tmp_path):
    (tmp_path / "corpus").mkdir()
    expected = LAYOUTS[name](tmp_path / "corpus")
    check(bring(name, tmp_path, tmp_path / "corpus" / ("data" if name == "kaldi" else "")), tmp_path / "out", expected)


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if not corpus.needs_lhotse])
def test_some_corpora_need_no_lhotse(name, tmp_path, monkeypatch):
    expected = LAYOUTS[name](tmp_path / "corpus")
    monkeypatch.setitem(sys.modules, "lhotse", None)
    check(bring(name, tmp_path, tmp_path / "corpus"), tmp_path / "out", expected)


@pytest.mark.parametrize("missing", ["text", "wav.scp", "spk2age"])
def test_tables_of_speechocean_that_are_missing(missing, tmp_path):
    speechocean762(tmp_path / "so")
    (tmp_path / "so/speechocean762/train" / missing).unlink()
    if missing == "text":
        with pytest.raises(ManifestError, match=r"train/text: missing. Wanted: wav.scp, text, utt2spk"):
            bring("speechocean762", tmp_path, tmp_path / "so")
    else:
        manifests = bring("speechocean762", tmp_path, tmp_path / "so").manifests
        assert [path.stem for path in manifests] == (["test"] if missing == "wav.scp" else ["test", "train"])


@pytest.mark.parametrize("name", ["librispeech", "nemo", "lhotse", "huggingface", "folder"])
def test_parts_are_chosen_by_name(name, tmp_path):
    (tmp_path / "corpus").mkdir()
    counts, *_ = LAYOUTS[name](tmp_path / "corpus")
    part = list(counts)[1]
    imported = bring(name, tmp_path, tmp_path / "corpus", parts=(part,))
    assert [path.stem for path in imported.manifests] == [part]
    with pytest.raises(UsageError, match=f"no part evening(.|\n)*{part}"):
        bring(name, tmp_path, tmp_path / "corpus", parts=("evening",))


def test_what_is_left_out_is_told(tmp_path):
    speechcommands(tmp_path / "sc")
    assert "test: 1 recordings without a text" in bring("speechcommands", tmp_path, tmp_path / "sc").left_out
    folder(tmp_path / "folder")
    assert bring("folder", tmp_path, tmp_path / "folder").left_out == ("1 sound files have no .txt beside them",)
    commonvoice(tmp_path / "cv")
    assert any(note.startswith("eu/test: no manifest") for note in bring("commonvoice", tmp_path, tmp_path / "cv").left_out)
    librispeech(tmp_path / "ls")
    gone = tmp_path / "ls/LibriSpeech/dev-clean/84/198/84-198-0001.flac"
    gone.unlink()
    assert any(str(gone) in note for note in bring("librispeech", tmp_path, tmp_path / "ls").left_out)


def test_rows_of_common_voice_without_a_file_are_counted(tmp_path):
    commonvoice(tmp_path / "cv")
    (tmp_path / "cv/cv-corpus-21/eu/clips/train_1.mp3").unlink()
    imported = bring("commonvoice", tmp_path, tmp_path / "cv", parts=("eu/train",))
    assert "eu/train: 1 of 2 lines, whose files are not in clips/" in imported.left_out


def test_what_is_known_of_people_is_kept(tmp_path):
    commonvoice(tmp_path / "cv")
    manifests = bring("commonvoice", tmp_path, tmp_path / "cv", parts=("eu/train",)).manifests
    lines = read_manifest(next(iter(manifests)))
    assert [dict(line.extra) for line in lines] == [{"age": "teens", "accent": "Gipuzkoa", "licence": "CC0-1.0"}] * 2
    speechocean762(tmp_path / "so")
    lines = read_manifest(next(iter(bring("speechocean762", tmp_path, tmp_path / "so", parts=("test",)).manifests)))
    assert [dict(line.extra) for line in lines] == [{"age": 6, "gender": "m", "licence": "CC-BY-4.0"}] * 2


def test_the_first_release_of_common_voice_is_a_table(tmp_path):
    sound(tmp_path / "cv-valid-dev" / "sample-000000.mp3")
    columns, row = "filename,text,up_votes,down_votes,age,gender,accent,duration", "be careful,1,0,twenties,male,us,"
    text(tmp_path / "cv-valid-dev.csv", f"{columns}\ncv-valid-dev/sample-000000.mp3,{row}\n")
    (line,) = read_manifest(next(iter(bring("folder", tmp_path, tmp_path / "cv-valid-dev.csv").manifests)))
    assert (line.text, line.extra) == ("be careful", {"age": "twenties", "gender": "male", "accent": "us"})


def test_punctuation_is_left_out_if_wanted(tmp_path):
    ljspeech(tmp_path / "lj")
    bring("ljspeech", tmp_path, tmp_path / "lj", words_only=True)
    assert {r.text for r in read_manifest(tmp_path / "out" / "all.jsonl")} == {"in fourteen forty", "Doctor X"}
    assert only_words("— rock ’n’ roll: it’s “आपकी” 3-D!") == "rock n roll it's आपकी 3-D"


def test_all_splits_empty_is_an_error(tmp_path):
    commonvoice(tmp_path / "cv")
    with pytest.raises(ManifestError, match=r"no recording with a text(.|\n)*eu/test"):
        bring("commonvoice", tmp_path, tmp_path / "cv", parts=("eu/test",))
    assert not list((tmp_path / "out").rglob("*.jsonl"))


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_another_folder_is_refused_with_what_was_wanted(name, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(EdgeseqError, match=r"not found in it(.|\n)*--from"):
        bring(name, tmp_path, tmp_path / "other")


@pytest.mark.parametrize("name", ["kaldi", "nemo", "lhotse", "huggingface", "folder"])
def test_other_data_needs_a_source(name, tmp_path):
    with pytest.raises(UsageError, match=f"edgeseq data import {name} --from"):
        bring(name, tmp_path, None)
    (tmp_path / "other").mkdir()
    with pytest.raises(ManifestError, match="Wanted"):
        bring(name, tmp_path, tmp_path / "other")


def test_a_damaged_recording_is_named(tmp_path):
    librispeech(tmp_path / "ls")
    (tmp_path / "ls/LibriSpeech/dev-clean/84/198/84-198-0001.flac").write_bytes(b"fLaC but not really")
    with pytest.raises(ManifestError, match=r"recipe failed at .*dev-clean(.|\n)*replace it"):
        bring("librispeech", tmp_path, tmp_path / "ls")


def test_kaldi_commands_are_not_run(tmp_path):
    kaldi(tmp_path / "k")
    text(tmp_path / "k/data/train/wav.scp", "r0 touch evil |\nr1 touch evil |\n")
    with pytest.raises(ManifestError, match="commands"):
        bring("kaldi", tmp_path, tmp_path / "k/data")


def test_kaldi_paths_may_count_from_a_folder_above(tmp_path):
    expected = kaldi(tmp_path / "k")
    for split in ("train", "test"):
        text(tmp_path / f"k/data/{split}/wav.scp", f"r0 wav/{split}0.wav\nr1 wav/{split}1.wav\n")
    check(bring("kaldi", tmp_path, tmp_path / "k/data"), tmp_path / "out", expected)


def test_one_channel_of_several_is_refused(tmp_path):
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

    RecordingSet.from_recordings([Recording.from_file(sound(tmp_path / "a.wav", channels=2))]).to_file(
        tmp_path / "recordings.jsonl"
    )
    SupervisionSet.from_segments([SupervisionSegment("s", "a", 0, 0.3, channel=1, text="x")]).to_file(
        tmp_path / "supervisions.jsonl"
    )
    with pytest.raises(ManifestError, match="file of its own"):
        bring("lhotse", tmp_path, tmp_path / "recordings.jsonl")


@pytest.mark.parametrize(("name", "comma"), [("words.csv", ","), ("words.csv", ";"), ("words.csv", "\t"), ("words.tsv", "\t")])
def test_tables_list_recordings(tmp_path, name, comma):
    sound(tmp_path / "a.wav")
    text(tmp_path / name, f"Path{comma}speaker{comma}text\na.wav{comma}anna{comma}hello\n")
    (line,) = read_manifest(next(iter(bring("folder", tmp_path, tmp_path).manifests)))
    assert (line.text, line.speaker, line.duration) == ("hello", "anna", pytest.approx(0.3))
    text(tmp_path / name, f"a.wav{comma}anna{comma}hello\n")
    with pytest.raises(ManifestError, match=r"first line names the columns a.wav, anna, hello"):
        bring("folder", tmp_path, tmp_path)
    text(tmp_path / name, f"path{comma}text\na.wav{comma}hello\nb.wav{comma}hello\n")
    with pytest.raises(ManifestError, match=r"1 files are missing(.|\n)*b.wav: no such file"):
        bring("folder", tmp_path, tmp_path)


def test_texts_of_tables_may_be_quoted(tmp_path):
    sound(tmp_path / "a.wav")
    text(tmp_path / "words.csv", 'path,text\r\na.wav,"hello,\nyou ""there"""\r\n')
    (line,) = read_manifest(next(iter(bring("folder", tmp_path, tmp_path).manifests)))
    assert line.text == 'hello, you "there"'
    text(tmp_path / "words.csv", 'path,text\na.wav,"hello\na.wav,you\n')
    with pytest.raises(ManifestError, match=r"words.csv: not a table beyond line \d(.|\n)*quotation mark left open"):
        bring("folder", tmp_path, tmp_path)


def packed(root, archive, top=""):
    """Pack a folder as .tar.gz or .zip."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for path in sorted(p for p in root.rglob("*") if p.is_file()):
                zipped.write(path, f"{top}{path.relative_to(root)}")
    else:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(root, top or ".")
    return archive


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.exists() else set()


def test_archives_are_unpacked_and_used(tmp_path):
    expected = vctk(tmp_path / "vctk")
    archive = packed(tmp_path / "vctk", tmp_path / "VCTK-Corpus-0.92.zip")
    check(bring("vctk", tmp_path, archive), tmp_path / "out", expected)
    assert archive.is_file(), "what the user has stays"
    archive.unlink()
    (tmp_path / "VCTK-Corpus-0.92.zip").write_bytes(b"")
    check(bring("vctk", tmp_path, archive), tmp_path / "out", expected)  # unpacked already


def test_a_folder_of_archives_is_used(tmp_path):
    expected = librispeech(tmp_path / "ls")
    (tmp_path / "archives").mkdir()
    for part in ("train-clean-100", "dev-clean"):
        packed(tmp_path / "ls/LibriSpeech" / part, tmp_path / "archives" / f"{part}.tar.gz", f"LibriSpeech/{part}")
    shutil.rmtree(tmp_path / "ls")
    (tmp_path / "archives" / "holiday.tar.gz").write_bytes(b"no corpus")
    check(bring("librispeech", tmp_path, tmp_path / "archives"), tmp_path / "out", expected)


def test_archives_within_an_archive(tmp_path):
    expected = aishell(tmp_path / "a")
    wav = tmp_path / "a/data_aishell/wav"
    for speaker in list(wav.glob("*/*")):
        packed(speaker, wav / f"{speaker.name}.tar.gz", speaker.relative_to(wav).as_posix())
    for split in ("train", "dev", "test"):
        shutil.rmtree(wav / split)
    check(bring("aishell", tmp_path, packed(tmp_path / "a", tmp_path / "data_aishell.tgz")), tmp_path / "out", expected)


def damage(archive, how):
    content = bytearray(archive.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "flipped":
        content[len(content) // 2] ^= 255
    else:
        content = b"<html>502 Bad Gateway</html>"
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("how", ["cut", "flipped", "page"])
@pytest.mark.parametrize("name", ["LJSpeech-1.1.tar.gz", "LJSpeech-1.1.zip"])
def test_damaged_archives_are_named_and_leave_nothing(tmp_path, name, how):
    ljspeech(tmp_path / "lj")
    for path in (tmp_path / "lj").rglob("*.wav"):  # not to be squeezed
        soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 5000), RATE)
    archive = damage(packed(tmp_path / "lj", tmp_path / name), how)
    fault = "not an archive but a web page" if how == "page" else "damaged or cut short"
    with pytest.raises(EdgeseqError, match=rf"{name}: {fault}(.|\n)*fetch it again"):
        bring("ljspeech", tmp_path, archive)
    assert tree(tmp_path / "out") <= {"unpacked"}


def test_a_checksum_at_the_end_is_looked_at(tmp_path):
    text(tmp_path / "a" / "a.txt", "hello")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(tmp_path / "a" / "a.txt", "a.txt")
    squeezed = bytearray(gzip.compress(plain.getvalue()))
    squeezed[-6] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(squeezed)
    with pytest.raises(EdgeseqError, match="CRC"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out" / "a")
    assert not (tmp_path / "out" / "a").exists()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil"])
def test_no_path_escapes(tmp_path, name):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/a.zip", "w") as zipped:
        zipped.writestr("good.txt", "x")
        zipped.writestr(name, "x")
    with tarfile.open(tmp_path / "in/a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("good.txt"), io.BytesIO())
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    link = tarfile.TarInfo("out")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    with tarfile.open(tmp_path / "in/link.tar", "w") as tar:
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("out/evil"), io.BytesIO())
    for archive in ("a.zip", "a.tar", "link.tar"):
        with pytest.raises(EdgeseqError, match="outside its folder"):
            unpack(tmp_path / "in" / archive, tmp_path / "out" / "x")
    assert not list(tmp_path.rglob("evil")) and not list((tmp_path / "out").iterdir())


class Server(BaseHTTPRequestHandler):
    """Serves `files` by name; breaks off once after `limit` bytes; knows ranges."""

    files, limit, requests, kind = {}, None, [], "application/gzip"

    def do_GET(self):
        asked = self.headers.get("Range")
        self.requests.append((self.path, asked))
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = self.files[self.path][first:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        self.wfile.write(body[: self.limit])
        type(self).limit = None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"files": {}, "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()


def at_home(monkeypatch, server, name, archives):
    """Let a corpus be fetched from the server: part -> file."""
    homes = {}
    for part, path in archives.items():
        server.files[f"/{path.name}"] = path.read_bytes()
        homes[part] = Archive(f"{server.url}/{path.name}", digest_of(path, "sha256"))
    corpus = CORPORA[name]
    made = {field: getattr(corpus, field) for field in corpus.__dataclass_fields__} | {"archives": homes}
    monkeypatch.setitem(public_corpora.CORPORA, name, type(corpus)(**made))
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)


def test_a_corpus_is_fetched_resumed_checked_and_unpacked(tmp_path, monkeypatch, server):
    expected = librispeech(tmp_path / "ls")
    archives = {
        part: packed(tmp_path / "ls/LibriSpeech" / part, tmp_path / f"{part}.tar.gz", f"LibriSpeech/{part}")
        for part in ("train-clean-100", "dev-clean")
    }
    at_home(monkeypatch, server, "librispeech", archives)
    server.limit = 100
    check(bring("librispeech", tmp_path, None), tmp_path / "out", expected)
    assert server.requests == [
        ("/train-clean-100.tar.gz", None),
        ("/train-clean-100.tar.gz", "bytes=100-"),
        ("/dev-clean.tar.gz", None),
    ]
    assert not list((tmp_path / "out").glob("*.tar.gz*"))
    check(bring("librispeech", tmp_path, None), tmp_path / "out", expected)
    assert len(server.requests) == 3, "what is there is not fetched again"


def test_a_part_that_there_is_not_is_refused_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    with pytest.raises(UsageError, match=r"has no part evening. Choose from: train-clean-100"):
        bring("librispeech", tmp_path, None, parts=("evening",))


def test_the_parts_named_are_fetched(tmp_path, monkeypatch, server):
    librispeech(tmp_path / "ls")
    parts = ("train-clean-100", "dev-clean")
    archives = {p: packed(tmp_path / "ls/LibriSpeech" / p, tmp_path / f"{p}.tgz", f"LibriSpeech/{p}") for p in parts}
    at_home(monkeypatch, server, "librispeech", archives)
    bring("librispeech", tmp_path, None, parts=("dev-clean",))
    assert [path for path, _ in server.requests] == ["/dev-clean.tgz"]


def test_an_archive_with_another_digest_is_thrown_away(tmp_path, monkeypatch, server):
    ljspeech(tmp_path / "lj")
    archive = packed(tmp_path / "lj", tmp_path / "lj.tar.gz")
    at_home(monkeypatch, server, "ljspeech", {"all": archive})
    server.files["/lj.tar.gz"] = server.files["/lj.tar.gz"][:-1] + b"x"
    with pytest.raises(EdgeseqError, match=r"another file or damaged: sha256:(.|\n)*thrown away"):
        bring("ljspeech", tmp_path, None)
    assert not tree(tmp_path / "out")


def test_a_web_page_in_place_of_a_file_is_not_kept(tmp_path, server):
    server.files["/x"], server.kind = b"<!DOCTYPE html> Please log in", "text/html; charset=utf-8"
    (tmp_path / "x.part").write_bytes(b"first ")
    with pytest.raises(EdgeseqError, match=r"/x: could not be fetched \(a web page came in its place(.|\n)*By hand"):
        download(f"{server.url}/x", tmp_path / "x", hint="\n  By hand: ...")
    assert len(server.requests) == 1 and (tmp_path / "x.part").read_bytes() == b"first ", "what is there is gone on with later"


def test_a_corpus_without_parts_is_fetched_whole(tmp_path, monkeypatch, server):
    expected = speechocean762(tmp_path / "so")
    archive = packed(tmp_path / "so" / "speechocean762", tmp_path / "speechocean762.tar.gz", "speechocean762")
    at_home(monkeypatch, server, "speechocean762", {"all": archive})
    check(bring("speechocean762", tmp_path, None), tmp_path / "out", expected)


def test_a_broken_off_download_is_gone_on_with_by_a_later_run(tmp_path, server):
    server.files["/x"] = bytes(range(256)) * 40
    (tmp_path / "x.part").write_bytes(server.files["/x"][:5000])
    told = []
    done = download(f"{server.url}/x", tmp_path / "x", on_progress=lambda *p: told.append(p))
    assert done.read_bytes() == server.files["/x"] and server.requests == [("/x", "bytes=5000-")]
    assert told[0] == (5000, 10240) and told[-1] == (10240, 10240)


def test_common_voice_is_fetched_by_hand(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    with pytest.raises(UsageError, match=r"without asking(.|\n)*By hand(.|\n)*--from"):
        bring("commonvoice", tmp_path, None)
