"""Running `edgeseq` as a program, as people do."""

from __future__ import annotations

import os
import subprocess
import sys

STARTED: list[subprocess.Popen] = []
"""What `start` began in this test; conftest.py ends what is left of it."""

EDGESEQ = [sys.executable, "-c", "from edgeseq.cli import main; main()"]


def run(*words, env=None, **kwargs):
    """Run a command to its end; text in, text out, unless `text=False`."""
    return subprocess.run(
        [*EDGESEQ, *map(str, words)],
        capture_output=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        **{"text": True, **kwargs},
    )


def start(*words, env=None, **kwargs):
    """Begin a command with its output in pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **kwargs}
    STARTED.append(subprocess.Popen([*EDGESEQ, *map(str, words)], env={**os.environ, **(env or {})}, **pipes))
    return STARTED[-1]
