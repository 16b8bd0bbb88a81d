"""Work on many files: in this process, or spread over many by Ray; what is finished is kept, so that a crash costs little.

The work itself is a function of one item. Ray starts the processes, here or on the cluster of $RAY_ADDRESS, and restarts those
that end; a journal holds a JSON line for each finished item.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq.errors import EdgeseqError, MissingExtraError, UsageError
from edgeseq.untrusted import parse_json

RETRIES = 2
"""An item whose process ends is tried again this many times."""
POLL_SECONDS = 0.5
"""So often it is asked whether to stop."""
STORE_BYTES = 100_000_000
"""Shared memory of a Ray of our own; only results pass through it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one item."""

    result: Any
    """as JSON holds it; None where there is none"""
    fault: str | None = None
    """why it failed, for people; then a second run tries it again"""


Function = Callable[[Any], Outcome]
Opener = Callable[[], Function]
"""Makes the function in the process that will call it; it is pickled there, so it is a `functools.partial` or the like."""


class Journal:
    """A file of JSON lines: first what was asked, then each finished item, so that a second run continues."""

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Open or begin the file. Raises UsageError when it belongs to other work, or is not a journal."""
        self.path = path
        self.done: dict[str, Any] = {}
        """results by key"""
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a line that a crash cut off is left out
        lines = whole.splitlines()
        if lines:
            self._check(lines[0], asked)
            for line in lines[1:]:
                entry = self._entry(line)
                self.done[entry["key"]] = entry["result"]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("r+b" if content else "wb")
        self._file.truncate(len(whole))
        self._file.seek(len(whole))
        if not lines:
            self._write({"asked": dict(asked)})

    def add(self, key: str, result: Any) -> None:
        """Write down a finished item."""
        self.done[key] = result
        self._write({"key": key, "result": result})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n")
        self._file.flush()

    def _entry(self, line: bytes) -> dict[str, Any]:
        try:
            entry = parse_json(line, any_names=True)
            return {"key": entry["key"], "result": entry["result"]}
        except (ValueError, KeyError, TypeError) as fault:
            raise UsageError(f"{self.path}: holds a line that is no finished item. Name another --journal.") from fault

    def _check(self, line: bytes, asked: Mapping[str, Any]) -> None:
        try:
            before = dict(parse_json(line, any_names=True)["asked"])
        except (ValueError, KeyError, TypeError) as fault:
            raise UsageError(f"{self.path}: is not a journal of edgeseq. Name another --journal.") from fault
        names = dict.fromkeys([*before, *asked])
        changes = [f"    {name}: was {before.get(name)!r}, now {asked.get(name)!r}" for name in names]
        changes = [change for name, change in zip(names, changes, strict=True) if before.get(name) != asked.get(name)]
        if changes:
            listed = "\n".join(changes)
            raise UsageError(
                f"{self.path}: is the journal of other work:\n{listed}\n"
                "  Ask for the same work again, or name another --journal."
            )


def describe(**options: Any) -> dict[str, Any]:
    """Say what is asked, for a journal: options as they are, files also by what they hold."""
    return {name: _described(value) for name, value in options.items()}


def _described(value: Any) -> Any:
    if isinstance(value, Path):
        return f"{value} (sha256 {hashlib.sha256(value.read_bytes()).hexdigest()[:16]})"
    if isinstance(value, list | tuple):
        return [_described(one) for one in value]
    return value


def run(
    opener: Opener,
    items: Mapping[str, Any],
    *,
    jobs: int | None = None,
    journal: Journal | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, Outcome]]:
    """Give the outcome of each of `items`, by key, as they are finished; those in the journal first.

    Without `jobs` the work is done here, one item after the other; with `jobs`, in that many processes. It ends early when
    `stop` says so. Raises MissingExtraError where Ray is wanted and not installed, and whatever `opener` raises.
    """
    done = {} if journal is None else journal.done
    yield from ((key, Outcome(done[key])) for key in items if key in done)
    left = {key: item for key, item in items.items() if key not in done}
    if not left:
        return
    for key, outcome in _here(opener, left) if jobs is None else _on_ray(opener, left, jobs, stop):
        if journal is not None and outcome.fault is None:
            journal.add(key, outcome.result)
        yield key, outcome
        if stop():
            return


def _here(opener: Opener, items: Mapping[str, Any]) -> Iterator[tuple[str, Outcome]]:
    function = opener()
    for key, item in items.items():
        yield key, function(item)


class _Worker:
    """What Ray keeps in each process: the function, made at the first call, so that its faults come back as they are."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._function: Function | None = None

    def call(self, item: Any) -> Outcome:
        self._function = self._function or self._opener()
        return self._function(item)


def _on_ray(opener: Opener, items: Mapping[str, Any], jobs: int, stop: Callable[[], bool]) -> Iterator[tuple[str, Outcome]]:
    try:
        import ray
    except ModuleNotFoundError as fault:
        raise MissingExtraError("--jobs spreads work by Ray, which is not installed: pip install 'edgeseq[ray]'") from fault
    _start(ray, jobs)
    try:
        remote: Any = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        idle = [remote.remote(opener) for _ in range(min(jobs, len(items)))]
        waiting = iter(items.items())
        busy: dict[Any, tuple[str, Any]] = {}
        while True:
            # One item per process, none waiting for it: a file that ends its process takes no other with it.
            while idle and (following := next(waiting, None)) is not None:
                key, item = following
                worker = idle.pop()
                busy[worker.call.remote(item)] = (key, worker)
            if not busy:
                return
            finished, _ = ray.wait(list(busy), num_returns=1, timeout=POLL_SECONDS)
            for one in finished:
                key, worker = busy.pop(one)
                yield key, _fetch(ray, one)
                idle.append(worker)
            if stop():
                return
    finally:
        ray.shutdown()


def _start(ray: Any, jobs: int) -> None:
    """Connect to the cluster of $RAY_ADDRESS, or start a Ray of `jobs` processes that ends with this one."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(**quiet)
        except (ConnectionError, RuntimeError) as fault:
            raise EdgeseqError(f"$RAY_ADDRESS ({os.environ['RAY_ADDRESS']}): no Ray answers there: {fault}") from fault
        return
    with suppress(KeyError):
        del os.environ["RAY_ADDRESS"]  # empty: Ray would take it for an address
    ray.init(num_cpus=jobs, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)


def _fetch(ray: Any, reference: Any) -> Outcome:
    try:
        outcome = ray.get(reference)
        assert isinstance(outcome, Outcome)
        return outcome
    except ray.exceptions.RayTaskError as fault:
        raise fault.cause from fault  # what the function raised
    except ray.exceptions.RayError as fault:
        return Outcome(None, f"the process that worked on it ended, {RETRIES + 1} times ({type(fault).__name__})")
