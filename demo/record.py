"""Record the moving picture of README: what a terminal shows while edgeseq listens to a recording, as an animated SVG.

    pip install pyte
    python demo/record.py docs/images/listen.svg

The program is the real one, in a pseudo-terminal; times are those at which it wrote.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from html import escape
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[1]
COMMAND = "edgeseq listen --input demo/number.flac"
COLUMNS, ROWS = 64, 7
TYPING_SECONDS, LAST_SECONDS = 0.04, 2.5
"""a character of the command; the end, before it begins again"""
WIDTH, HEIGHT, MARGIN = 8.4, 20, 14
"""of a character and around all, in pixels"""


@dataclass(frozen=True)
class Frame:
    """What the terminal shows from some time on."""

    seconds: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """A line's text while it stays the same."""

    row: int
    text: str
    start: float
    end: float


def record(command: str) -> Iterator[Frame]:
    """Type `command`, run it in a terminal and give what is shown whenever that changes."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    for n_typed in range(len(command) + 1):
        yield Frame(n_typed * TYPING_SECONDS, (f"$ {command[:n_typed]}", *[""] * (ROWS - 1)))
    stream.feed(f"$ {command}\r\n".encode())
    offset = len(command) * TYPING_SECONDS + 0.3
    began = time.monotonic()
    for written in run(command):
        stream.feed(written)
        yield Frame(offset + time.monotonic() - began, tuple(line.rstrip() for line in screen.display))


def run(command: str) -> Iterator[bytes]:
    """Run `command` in a pseudo-terminal; give what it writes, as it does."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    program, *arguments = shlex.split(command)
    with subprocess.Popen(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    yield os.read(ours, 4096)
                except OSError:  # the other side is closed
                    break
    os.close(ours)


def stretches(frames: list[Frame], end: float) -> Iterator[Stretch]:
    """Give for each line the stretches of time in which it reads the same; empty ones are left out."""
    for row in range(ROWS):
        text, start = "", 0.0
        for frame in [*frames, Frame(end, ("",) * ROWS)]:
            if frame.lines[row] != text:
                if text:
                    yield Stretch(row, text, start, frame.seconds)
                text, start = frame.lines[row], frame.seconds


def draw(frames: list[Frame]) -> str:
    """Draw the frames as an SVG that plays them without end; where motion is not wanted, it shows the last."""
    end = frames[-1].seconds + LAST_SECONDS
    width, height = round(COLUMNS * WIDTH + 2 * MARGIN), ROWS * HEIGHT + 2 * MARGIN
    rules, texts = [], []
    for number, one in enumerate(stretches(frames, end)):
        first, last = (round(100 * seconds / end, 2) for seconds in (one.start, one.end))
        hide = "" if last >= 100 else f"{last}%{{visibility:hidden}}"
        rules.append(f"@keyframes k{number}{{0%{{visibility:hidden}}{first}%{{visibility:visible}}{hide}}}")
        rules.append(f".k{number}{{animation-name:k{number}}}")
        kind = "last" if last >= 100 else "passing"
        y = MARGIN + (one.row + 0.75) * HEIGHT
        texts.append(f'<text class="k{number} {kind}" x="{MARGIN}" y="{y:g}">{escape(one.text)}</text>')
    style = "\n".join(
        [
            f"text{{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d8dee9;white-space:pre;"
            f"animation:{end:.2f}s step-end infinite}}",
            *rules,
            "@media (prefers-reduced-motion:reduce){text{animation:none}.passing{display:none}}",
        ]
    )
    label = escape(
        f"A terminal runs {COMMAND}; words appear as they are spoken: {', '.join(filter(None, frames[-1].lines[1:]))}"
    )
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">\n'
        f"<title>{label}</title>\n<style>\n{style}\n</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#20242c"/>\n' + "\n".join(texts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FILE.svg")
    Path(sys.argv[1]).write_text(draw(list(record(COMMAND))), encoding="utf-8")
