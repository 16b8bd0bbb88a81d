"""Manifests: what is written is read, and all faults of a file come at once."""

import json
from pathlib import Path

import pytest

from edgeseq.data.manifest import BRINGERS, MAX_FAULTS, Recording, bringer, find_data, read_manifest, write_manifest
from edgeseq.errors import ManifestError


@pytest.fixture
def corpus(tmp_path):
    """A folder with two (empty) audio files; gives a writer of manifest.jsonl in it."""
    for name in ("a.flac", "b.flac"):
        (tmp_path / name).touch()

    def write(*lines):
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
        (tmp_path / "manifest.jsonl").write_text(text, encoding="utf-8")
        return tmp_path / "manifest.jsonl"

    return write


def line(**changes):
    good = {"audio_filepath": "a.flac", "duration": 1.5, "text": "one"}
    return {key: value for key, value in (good | changes).items() if value is not ...}


def test_what_is_written_is_read(tmp_path):
    (tmp_path / "clips").mkdir()
    audio = tmp_path / "clips" / "a.flac"
    audio.touch()
    recordings = [
        Recording(audio, 1.25, "zwölf", offset=0.5, speaker="anna", extra={"intent": "count", "slots": {"n": 12}}),
        Recording(audio, 0.5, "one"),
    ]
    manifest = tmp_path / "lists" / "train.jsonl"
    write_manifest(manifest, recordings)
    assert json.loads(manifest.read_text(encoding="utf-8").splitlines()[0])["audio_filepath"] == "../clips/a.flac"
    read = read_manifest(manifest)
    assert [(r.duration, r.text, r.offset, r.speaker, r.extra) for r in read] == [
        (r.duration, r.text, r.offset, r.speaker, r.extra) for r in recordings
    ]
    assert all(r.path.samefile(audio) for r in read)


def test_paths_hold_through_links(tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "a.flac").touch()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
    write_manifest(tmp_path / "near" / "m.jsonl", [Recording(tmp_path / "a.flac", 1.0, "one")])
    assert read_manifest(tmp_path / "near" / "m.jsonl")[0].path.samefile(tmp_path / "a.flac")


def test_a_failed_write_leaves_the_old_manifest_and_nothing_else(corpus, tmp_path):
    manifest = corpus(line())
    before = manifest.read_text()

    def broken():
        yield Recording(tmp_path / "a.flac", 1.0, "two")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(manifest, broken())
    with pytest.raises(TypeError):
        write_manifest(manifest, [Recording(tmp_path / "a.flac", 1.0, "two", extra={"slots": {1, 2}})])
    assert manifest.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "b.flac", "manifest.jsonl"]


def test_blank_lines_are_skipped_and_line_separators_in_texts_are_none(corpus):
    manifest = corpus(line(text="one\u2028two"), "", json.dumps(line(text="one\u2028two"), ensure_ascii=False))
    assert [r.text for r in read_manifest(manifest)] == ["one\u2028two"] * 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"audio_filepath": ', "not JSON"),
        ("[1]", "a JSON object"),
        (line(text=...), "'text' is missing"),
        (line(duration=...), "'duration' is missing"),
        (line(audio_filepath=...), "'audio_filepath' is missing"),
        (line(audio_filepath=""), "'audio_filepath' is empty"),
        (line(audio_filepath=3), "'audio_filepath' is 3; a string is wanted"),
        (line(duration="long"), "'duration' is \"long\"; seconds, a number above 0"),
        (line(duration=True), "'duration' is true"),
        (line(duration=None), "'duration' is null"),
        (line(duration=0), "'duration' is 0; seconds, a number above 0"),
        (line(duration=float("nan")), "'duration' is NaN"),
        (line(offset=-1), "'offset' is -1; seconds, a number 0 or more"),
        (line(speaker=["anna"]), "'speaker' is"),
        (line(text=" "), "'text' is empty"),
        (line(text=None), "'text' is null; a string is wanted"),
        (line(audio_filepath="gone.flac"), "no audio file"),
        (line(audio_filepath="."), "no audio file"),
    ],
)
def test_a_bad_line_is_named(corpus, bad, message):
    manifest = corpus(line(), bad, line(audio_filepath="b.flac"))
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest)
    assert f"line 2: {message}" in str(caught.value)
    assert str(manifest) in str(caught.value)
    assert "line 1" not in str(caught.value) and "line 3" not in str(caught.value)


def test_all_faults_come_at_once_and_a_flood_is_counted(corpus):
    manifest = corpus(line(text=..., duration="x"), *[line(audio_filepath=f"{n}.flac") for n in range(30)])
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest)
    message = str(caught.value)
    assert "32 faults" in message
    assert "line 1: 'text' is missing" in message and "line 1: 'duration' is" in message
    assert f"... and {32 - MAX_FAULTS} more" in message


def test_an_empty_text_may_be_permitted(corpus):
    assert read_manifest(corpus(line(text="")), allow_empty_text=True)[0].text == ""


def test_a_text_may_be_absent_where_the_intent_is_known(corpus):
    manifest = corpus(line(text=..., intent="stop"))
    assert read_manifest(manifest, allow_empty_text=True)[0] == Recording(
        manifest.parent / "a.flac", 1.5, "", extra={"intent": "stop"}
    )
    with pytest.raises(ManifestError, match="'text' is missing"):
        read_manifest(manifest)
    with pytest.raises(ManifestError, match="'text' is missing"):
        read_manifest(corpus(line(text=...)), allow_empty_text=True)


def test_offset_may_be_null(corpus):
    assert read_manifest(corpus(line(offset=None, speaker=7)))[0] == Recording(
        corpus(line()).parent / "a.flac", 1.5, "one", speaker="7"
    )


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_manifest_without_recordings_is_refused(tmp_path, content):
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(ManifestError, match="lists no recordings"):
        read_manifest(tmp_path / "m.jsonl")


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00fLaC")
    with pytest.raises(ManifestError, match="not text in UTF-8"):
        read_manifest(tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)


def test_missing_data_names_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    with pytest.raises(ManifestError, match="edgeseq data import fsdd"):
        read_manifest(tmp_path / "fsdd" / "train.jsonl")
    with pytest.raises(ManifestError, match="run this"):
        read_manifest(tmp_path / "mine" / "train.jsonl", hint="run this")
    with pytest.raises(ManifestError, match=r"EDGESEQ_DATA(.|\n)*edgeseq data import fsdd"):
        find_data("fsdd/train.jsonl")
    with pytest.raises(ManifestError, match="edgeseq data --help"):
        find_data("mine/train.jsonl")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("librispeech/train-clean-360.jsonl", "edgeseq data import librispeech --parts train-clean-360"),
        ("librispeech/train.jsonl", "edgeseq data import librispeech"),
        ("minilibrispeech/train-clean-5.jsonl", "edgeseq data import minilibrispeech"),
        ("speechocean762/train.jsonl", "edgeseq data import speechocean762"),
        ("an4/train.jsonl", "edgeseq data import an4"),
        ("librispeech/lexicon.txt", "edgeseq lexicon make data/librispeech/*.jsonl --out data/librispeech/lexicon.txt"),
        ("commonvoice/eu/train.jsonl", "edgeseq data import commonvoice --from ARCHIVE (of commonvoice.mozilla.org)"),
        ("mine/train.jsonl", ""),
    ],
)
def test_what_is_missing_has_a_command(name, command):
    assert bringer(Path(name)) == command


@pytest.mark.parametrize("name", [name for name, command in BRINGERS.items() if "synth" in command])
def test_recipes_tell_the_same_commands(name):
    heads = [path.read_text(encoding="utf-8") for path in Path("recipes").glob("*.yaml")]
    assert any(BRINGERS[name] in head for head in heads)


def test_data_is_found_here_before_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGESEQ_DATA", str(tmp_path / "elsewhere"))
    places = [
        tmp_path / "fsdd" / "t.jsonl",
        tmp_path / "elsewhere" / "fsdd" / "t.jsonl",
        tmp_path / "data" / "fsdd" / "t.jsonl",
    ]
    for place in places:  # from the last resort to the first
        place.parent.mkdir(parents=True)
        place.touch()
        assert find_data("fsdd/t.jsonl").samefile(place)
    assert find_data(places[1]) == places[1]


def test_a_message_lists_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGESEQ_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(ManifestError) as caught:
        find_data("fsdd/train.jsonl")
    assert str(Path("data", "fsdd", "train.jsonl")) in str(caught.value)
    assert str(tmp_path / "elsewhere" / "fsdd" / "train.jsonl") in str(caught.value)
