"""Fetching one file over HTTP: whole, checked and all, or not at all; a download that broke off is resumed."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from edgeseq.errors import EdgeseqError

TIMEOUT_SECONDS = 30.0
TRIES = 3
BLOCK_BYTES = 1 << 18

PAGE = "text/html"
"""What a login or a consent page is that comes in place of a file."""

Progress = Callable[[int, int], None]
"""Called with bytes fetched and bytes wanted; the latter is 0 while it is not known."""


def download(
    url: str,
    target: Path,
    *,
    digest: str = "",
    on_progress: Progress = lambda done, total: None,
    hint: str = "",
) -> Path:
    """Fetch `url` to `target`, through `target`.part, which a later call resumes.

    `digest` is what the file must have, such as "sha256:d4dd..." or "md5:2f49...". Raises EdgeseqError when it cannot
    be fetched, `hint` then says what to do instead, or is another file, which is thrown away.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    for tries_left in reversed(range(TRIES)):
        try:
            _fetch(url, part, on_progress)
            break
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as fault:
            if _code(fault) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # as long as the file, or longer: no part of it
            elif not tries_left or not _worth_trying_again(fault):
                raise EdgeseqError(f"{url}: could not be fetched ({_reason(fault)}).{hint}") from None
    else:
        raise EdgeseqError(f"{url}: could not be fetched.{hint}")
    if digest and (found := digest_of(part, digest.partition(":")[0])) != digest:
        part.unlink()
        raise EdgeseqError(
            f"{url}: what came is another file or damaged: {found}, wanted {digest}. It was thrown away.\n"
            f"  Import again; if it comes to the same, its home has changed or something between alters it.{hint}"
        )
    return part.replace(target)


class _PageError(ConnectionError):
    """A web page came in place of the file."""


def digest_of(path: Path, algorithm: str) -> str:
    """Digest a file's content, as "sha256:d4dd..."."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _fetch(url: str, part: Path, on_progress: Progress) -> None:
    """Append to `part` what is missing of it, or start over where the server sends only the whole file."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "edgeseq"} | _range(have))
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        if answer.headers.get_content_type() == PAGE:
            raise _PageError("a web page came in its place: this network wants a login, or the file has moved")
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with part.open("ab" if have else "wb") as file:
            on_progress(have, total)
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                have += len(block)
                on_progress(have, total)
    if have < total:
        raise ConnectionError(f"the connection broke off after {have:,} of {total:,} bytes")


def _range(have: int) -> dict[str, str]:
    return {"Range": f"bytes={have}-"} if have else {}


def _worth_trying_again(fault: Exception) -> bool:
    if isinstance(fault, urllib.error.URLError):
        return _code(fault) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(fault, _PageError)


def _code(fault: Exception) -> int:
    return fault.code if isinstance(fault, urllib.error.HTTPError) else 0


def _reason(fault: Exception) -> str:
    return str(fault.reason if isinstance(fault, urllib.error.URLError) else fault) or type(fault).__name__
