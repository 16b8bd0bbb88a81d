"""A share of hostile_commands.py: hostile files through commands, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "hostile_commands.py"


def test_hostile_files_are_refused_in_one_message_by_every_command_that_takes_them():
    pytest.importorskip("torch")
    commands = "data-check,lm-info,phrases-check,models-info,export,train"
    files = "aliases,parens,digits.json,line-1.jsonl,archive.pt,shapes,metadata"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--only", commands, "--files", files, "--seconds", "60"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout


def test_the_program_finds_what_goes_wrong(tmp_path):
    """A command that ends in a traceback, or never, is counted."""
    pytest.importorskip("torch")
    sys.path.insert(0, str(PROGRAM.parent))
    import hostile_commands

    hostile = tmp_path / "file"
    hostile.write_bytes(b"x")
    place = tmp_path / "place"
    place.mkdir()
    said = place / "said"
    for words, seconds, fault in ((["listen", "--input", "/dev/zero", "--rate", "8000"], 2.0, "no end"),):
        hostile_commands.COMMANDS["endless"] = " ".join(words)
        assert hostile_commands.run_one("endless", hostile, place, seconds).fault == fault
    assert said.exists()
