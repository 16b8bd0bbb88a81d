"""The Free Spoken Digit Dataset: from a folder, from a zip, from a server that breaks off."""

import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from edgeseq.data import download as downloading
from edgeseq.data import fsdd
from edgeseq.data.corpora import importer
from edgeseq.data.manifest import read_manifest
from edgeseq.errors import EdgeseqError, UsageError

SPEAKERS = ("anna", "ben")
N_INDICES = 7


def wav():
    file = io.BytesIO()
    soundfile.write(file, np.full(800, 0.1), 8000, format="WAV")
    return file.getvalue()


def names():
    return [f"{digit}_{speaker}_{index}.wav" for digit in range(10) for speaker in SPEAKERS for index in range(N_INDICES)]


@pytest.fixture(autouse=True)
def small_corpus(monkeypatch):
    monkeypatch.setattr(fsdd, "N_RECORDINGS", len(names()))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clone" / "recordings").mkdir(parents=True)
    for name in names():
        (tmp_path / "clone" / "recordings" / name).write_bytes(wav())
    (tmp_path / "clone" / "README.md").touch()
    return tmp_path / "clone"


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "v1.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names():
            packed.writestr(f"free-spoken-digit-dataset-1/recordings/{name}", wav())
        packed.writestr("free-spoken-digit-dataset-1/../../evil.py", "import os")
    return tmp_path / "v1.zip"


def check(imported, out):
    train, test = read_manifest(out / "train.jsonl"), read_manifest(out / "test.jsonl")
    assert (len(train), len(test)) == (10 * 2 * 2, 10 * 2 * 5)
    assert list(imported.manifests.values()) == [len(train), len(test)]
    assert {r.path.stem.split("_")[2] for r in test} == set("01234")
    assert {r.path.stem.split("_")[2] for r in train} == {"5", "6"}
    assert {r.extra["licence"] for r in train + test} == {"CC-BY-SA-4.0"}
    assert {(r.text, r.speaker, r.duration) for r in test} == {(w, s, 0.1) for w in fsdd.WORDS for s in SPEAKERS}


@pytest.mark.parametrize("inner", ["", "recordings"])
def test_from_a_folder_nothing_is_copied(folder, tmp_path, inner):
    check(fsdd.import_recordings(tmp_path / "out", folder / inner), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.jsonl", "train.jsonl"]


def test_from_a_zip_the_recordings_alone_are_unpacked(archive, tmp_path):
    check(fsdd.import_recordings(tmp_path / "out", archive), tmp_path / "out")
    assert len(list((tmp_path / "out" / "recordings").iterdir())) == len(names())
    assert not list(tmp_path.rglob("evil.py"))


def test_missing_recordings_are_counted(folder, tmp_path):
    (folder / "recordings" / "3_anna_1.wav").unlink()
    with pytest.raises(EdgeseqError, match=r"holds 139 recordings(.|\n)*the corpus has 140(.|\n)*--from"):
        fsdd.import_recordings(tmp_path / "out", folder)
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_broken_recordings_are_named_all(folder, tmp_path):
    (folder / "recordings" / "3_anna_1.wav").write_bytes(b"")
    (folder / "recordings" / "4_ben_2.wav").write_bytes(b"RIFF")
    with pytest.raises(EdgeseqError, match=r"2 recordings(.|\n)*3_anna_1(.|\n)*4_ben_2"):
        fsdd.import_recordings(tmp_path / "out", folder)


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "v1.zip").write_bytes(b"no zip")
    with pytest.raises(EdgeseqError, match="not a whole zip file"):
        fsdd.import_recordings(tmp_path / "out", tmp_path / "v1.zip")
    with pytest.raises(EdgeseqError, match="no such folder or zip file"):
        fsdd.import_recordings(tmp_path / "out", tmp_path / "gone.zip")
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_zip_is_refused(archive, tmp_path):
    with zipfile.ZipFile(archive) as packed:
        entry = packed.infolist()[7]
    content = bytearray(archive.read_bytes())
    begin = entry.header_offset + 30 + len(entry.filename)
    content[begin : begin + 8] = b"\xff" * 8
    archive.write_bytes(content)
    with pytest.raises(EdgeseqError, match="not a whole zip file"):
        fsdd.import_recordings(tmp_path / "out", archive)
    assert not list((tmp_path / "out").iterdir())


def test_unknown_corpora_are_refused():
    with pytest.raises(UsageError, match=r"Choose from: .*fsdd"):
        importer("timit")


class Server(BaseHTTPRequestHandler):
    """Serves `content`; breaks off after `limit` bytes of an answer; knows ranges unless told not to."""

    content, limit, ranges, requests = b"", 0, True, []

    def do_GET(self):
        asked = self.headers.get("Range")
        self.requests.append(asked)
        if self.path == "/gone":
            self.send_error(404)
            return
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if first >= len(self.content):
            self.send_error(416)
            return
        body = self.content[first:]
        self.send_response(206 if asked and self.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.limit or None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(archive):
    handler = type("Handler", (Server,), {"content": archive.read_bytes(), "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()


def test_download_goes_on_where_it_broke_off(server, tmp_path):
    n_bytes = len(server.content)
    server.limit = n_bytes // 2 + 1
    told = []
    check(
        fsdd.import_recordings(tmp_path / "out", url=server.url + "/v1.zip", on_progress=lambda *p: told.append(p)),
        tmp_path / "out",
    )
    assert server.requests == [None, f"bytes={server.limit}-"]
    assert told[-1] == (n_bytes, n_bytes)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["recordings", "test.jsonl", "train.jsonl"]
    fsdd.import_recordings(tmp_path / "out", url=server.url + "/v1.zip")
    assert len(server.requests) == 2, "what is there is not fetched again"


def test_a_server_without_ranges_is_asked_for_the_whole(server, tmp_path):
    server.ranges = False
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "v1.zip.part").write_bytes(server.content[:100])
    check(fsdd.import_recordings(tmp_path / "out", url=server.url + "/v1.zip"), tmp_path / "out")


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "fetched.part").write_bytes(server.content + b"more")
    target = downloading.download(server.url + "/v1.zip", tmp_path / "fetched")
    assert target.read_bytes() == server.content


def test_what_cannot_be_fetched_says_what_to_do_by_hand(server, tmp_path):
    with pytest.raises(EdgeseqError, match=r"Not Found(.|\n)*--from v1.0.10.zip"):
        fsdd.import_recordings(tmp_path / "out", url=server.url + "/gone")
    assert server.requests == [None], "a 404 is not asked for again"
    with pytest.raises(EdgeseqError, match=r"could not be fetched(.|\n)*Without a network"):
        fsdd.import_recordings(tmp_path / "out", url="http://127.0.0.1:9/v1.zip")


def test_a_server_that_gives_nothing_is_given_up(server, tmp_path):
    server.limit = 1
    with pytest.raises(EdgeseqError, match="broke off"):
        downloading.download(server.url + "/v1.zip", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    assert (tmp_path / "fetched.part").stat().st_size == downloading.TRIES
