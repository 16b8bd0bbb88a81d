"""Archives unpacked whole or not at all, and never outside their folder."""

from __future__ import annotations

import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from edgeseq.data.corpora import Progress
from edgeseq.errors import EdgeseqError

SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
PAGE_BEGINS = (b"<!doctype html", b"<html")


def is_archive(path: Path) -> bool:
    """Tell by the name whether a file is an archive that can be unpacked."""
    return path.is_file() and path.name.endswith(SUFFIXES)


def stem(path: Path) -> str:
    """Name an archive without what says that it is one.

    >>> stem(Path("train-clean-100.tar.gz"))
    'train-clean-100'
    """
    return next((path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix)), path.name)


def unpack(archive: Path, folder: Path, *, nested: str | None = None, on_progress: Progress = lambda done, total: None) -> Path:
    """Unpack to `folder`, which appears when all of it is there; where it exists already, nothing is done.

    `nested` is a glob of archives inside, each unpacked where it lies. `on_progress` counts bytes of the archive.
    Raises EdgeseqError for an archive that is damaged, cut short, none, or names files outside its folder.
    """
    if folder.is_dir():
        return folder
    half = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir(parents=True)
        _extract(archive, half, archive, on_progress)
        for inner in sorted(half.glob(nested)) if nested else ():
            _extract(inner, inner.parent, archive, lambda done, total: None)
            inner.unlink()
        return half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _extract(archive: Path, folder: Path, shown: Path, on_progress: Progress) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, folder, on_progress)
        else:
            _extract_tar(archive, folder, on_progress)
    except tarfile.FilterError as fault:
        raise _escapes(shown, fault.tarinfo.name) from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as fault:
        raise _damaged(shown, archive, fault) from None
    except OSError as fault:
        if fault.errno is not None:  # the disk's, not the decompressor's
            raise
        raise _damaged(shown, archive, fault) from None


def _extract_tar(archive: Path, folder: Path, on_progress: Progress) -> None:
    with _Counted(archive, on_progress) as counted, tarfile.open(fileobj=counted, mode="r:*") as packed:
        for member in packed:
            packed.extract(member, folder, filter="data")
        while packed.fileobj is not None and packed.fileobj.read(1 << 20):
            pass  # to the end, where the checksum is


def _extract_zip(archive: Path, folder: Path, on_progress: Progress) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
        total = sum(entry.compress_size for entry in entries)
        done = 0
        for entry in entries:
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise _escapes(archive, entry.filename)
            packed.extract(entry, folder)
            done += entry.compress_size
            on_progress(done, total)


def _escapes(archive: Path, name: str) -> EdgeseqError:
    return EdgeseqError(
        f"{archive}: holds {name!r}, which would be written outside its folder; nothing was unpacked.\n"
        "  Corpora have no such files: fetch the archive again, from its public home."
    )


def _damaged(archive: Path, inner: Path, fault: Exception) -> EdgeseqError:
    if _is_page(inner):
        return EdgeseqError(
            f"{archive}: not an archive but a web page, such as a login's or an error's. Nothing was unpacked.\n"
            "  Remove it, look at its address in a browser, fetch it again, and import again."
        )
    within = "" if inner == archive else f" (in it, {inner.name})"
    reason = next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(":")  # tarfile lists all that it tried
    return EdgeseqError(
        f"{archive}: damaged or cut short{within}: {reason}. Nothing was unpacked.\n"
        "  Remove it, fetch it again, and import again."
    )


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(100).lstrip().lower().startswith(PAGE_BEGINS)


class _Counted(io.FileIO):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, on_progress: Progress) -> None:
        super().__init__(path)
        self._size, self._on_progress = path.stat().st_size, on_progress

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(-1 if size is None else size)
        self._on_progress(self.tell(), self._size)
        return content or b""
