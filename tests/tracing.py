"""What a program writes and whom it asks, seen by strace rather than by the program itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import EDGESEQ

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

ROOT = Path(__file__).parents[1]
MAKING = "creat|mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink|symlinkat"
CALLS = f"open,openat,openat2,connect,sendto,{MAKING.replace('|', ',')}"
WRITES = re.compile(rf"O_WRONLY|O_RDWR|O_CREAT|^({MAKING})\(")
DEVICES = ("/dev/", "/proc/")
"""Not files: terminals, nothing at all, shared memory, the kernel's own."""


@dataclass(frozen=True)
class Trace:
    """One run of a program."""

    exit_code: int
    stdout: str
    stderr: str
    written: frozenset[Path]
    """files and folders that were opened for writing or made"""
    asked: frozenset[str]
    """calls that reach another program: connections and datagrams"""
    left: frozenset[Path]
    """files in the home and the temporary folder behind it"""


def traced(folder, *words, program=EDGESEQ, env=None, **kwargs):
    """Run a command in `folder` with an empty home, and watch it and all that it starts."""
    home, scratch, log = folder / "home", folder / "scratch", folder / "trace"
    home.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(exist_ok=True)
    given = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        **(env or {}),
    }
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "300", "-e", f"trace={CALLS}", "-o", log, *program, *words]
    done = subprocess.run(list(map(str, command)), cwd=folder, env=given, capture_output=True, text=True, timeout=240, **kwargs)
    left = {path for top in (home, scratch) for path in top.rglob("*")}
    written, asked = read_trace(log.read_text(errors="replace"), folder)
    return Trace(done.returncode, done.stdout, done.stderr, frozenset(written), frozenset(asked), frozenset(left))


def read_trace(text, folder):
    """Read strace's lines: what was opened for writing, and what was sent to whom."""
    written, asked = set(), set()
    for line in text.splitlines():
        call = re.sub(r"^\d+ +", "", line)
        if "= -1 " in call and not call.startswith("connect"):
            continue
        if call.startswith(("connect(", "sendto(")):
            if "AF_NETLINK" not in call and "/nscd/" not in call and "sa_family" in call:
                asked.add(call)
        elif WRITES.search(call):
            name = re.findall(r'"((?:[^"\\]|\\.)*)"', call)[-1]
            path = Path(os.path.normpath(folder / name))
            if not str(path).startswith(DEVICES):
                written.add(path)
    return written, asked
