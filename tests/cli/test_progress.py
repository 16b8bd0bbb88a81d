"""Progress: the most important first, no longer than the terminal's line."""

import doctest
import io
import os
import sys

import edgeseq.cli.progress as progress_module
from edgeseq.cli.progress import StatusLine, fitting, progress

PARTS = [
    "step 120/12000",
    "35 min left",
    "loss 1.234",
    "difficulty 0.50",
    "120x real time",
    "3 % waiting for data",
    "lr 2.0e-03",
]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Let standard error be a terminal of 80 columns."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress_module.shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    return sys.stderr


def test_doctests():
    assert doctest.testmod(progress_module).failed == 0


def test_step_time_left_and_loss_stay_where_not_all_fits():
    line = fitting(PARTS, 79)
    assert line.startswith("step 120/12000  35 min left  loss 1.234") and len(line) <= 79 and "lr" not in line
    assert fitting(PARTS, 5) == "step "


def test_a_terminal_gets_a_line_that_is_rewritten_and_taken_away(monkeypatch):
    terminal = on_terminal(monkeypatch)
    line = StatusLine()
    line.show(PARTS)
    line.print("step 100: words wrong 3.0 %")
    shown = terminal.getvalue().split("\r")[1]
    assert shown.startswith("step 120/12000  35 min left") and len(shown.removesuffix("\x1b[K")) <= 79
    assert terminal.getvalue().endswith("\r\x1b[Kstep 100: words wrong 3.0 %\n")


def test_amounts_and_the_time_left(monkeypatch):
    terminal = on_terminal(monkeypatch)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    with progress("Speaking to " + "a/long/path/" * 3, unit="files") as show:
        show(0, 1000)
        show(500, 1000)
    lines = terminal.getvalue().split("\r")
    assert lines[1].endswith(" ...\x1b[K"), "at once"
    assert "0 of 1,000 files" in lines[2] and "500 of 1,000 files" in lines[3] and " left" in lines[3]
    assert max(len(line.removesuffix("\x1b[K")) for line in lines) <= 79
