"""Help that people can read on a terminal of 80 columns, and what a shell completes."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer
from command_line import EDGESEQ, run
from typer.testing import CliRunner

from edgeseq.cli import COMMANDS, GROUPS, app

COLUMNS = 80
SECTIONS = {"Commands:", *(f"{title}:" for title in GROUPS)}
AS_EDGESEQ = [sys.executable, "-c", "import sys; sys.argv[0] = 'edgeseq'; " + EDGESEQ[-1]]


def paths(command, words=()):
    """List every command by the words that call it, groups too."""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*words, name))


def with_root():
    """The environment of a program that imports edgeseq from here."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


ALL = list(paths(typer.main.get_command(app)))


def listed_commands(text):
    """Give the lines of a help text that list commands."""
    is_list = False
    for line in text.splitlines():
        is_list = line in SECTIONS or (is_list and line.startswith("  "))
        if is_list and line not in SECTIONS:
            yield line


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_nothing_is_cut_off_at_80_columns(words):
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(COLUMNS), "EDGESEQ_DEFAULT_MODEL": None})
    assert shown.exit_code == 0
    assert [line for line in shown.stdout.splitlines() if len(line) > COLUMNS] == []
    commands = list(listed_commands(shown.stdout))
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []  # whole sentences


def test_commands_are_in_groups():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": str(COLUMNS)}).stdout
    places = [shown.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    assert len(list(listed_commands(shown))) == len(COMMANDS)


def test_the_version_has_a_short_option():
    assert run("-V").stdout == run("--version").stdout != ""


def test_help_imports_nothing_slow():
    code = "import sys; from edgeseq.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    loaded = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
    )
    assert not {"numpy", "torch", "onnxruntime", "pydantic"} & set(loaded)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("edgeseq tr", {"train", "transcribe"}),
        ("edgeseq models ve", {"verify"}),
        ("edgeseq listen --dev", {"--device"}),
    ],
)
def test_bash_completes_commands_and_options(typed, completed):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_EDGESEQ_COMPLETE": "complete_bash"}
    done = subprocess.run(AS_EDGESEQ, capture_output=True, text=True, env={**os.environ, **words}, check=False)
    assert set(done.stdout.split()) == completed


def test_a_real_bash_completes():
    script = subprocess.run(
        AS_EDGESEQ, capture_output=True, text=True, env={**os.environ, "_EDGESEQ_COMPLETE": "source_bash"}, check=False
    ).stdout
    asked = 'COMP_WORDS=(edgeseq transc); COMP_CWORD=1; _edgeseq_completion "$1"; echo "${COMPREPLY[@]}"'
    program = f"{script}\nset -- ./edgeseq\n{asked}"
    with tempfile.TemporaryDirectory() as folder:
        edgeseq = Path(folder, "edgeseq")
        edgeseq.write_text(f"#!{sys.executable}\n{AS_EDGESEQ[-1]}\n")
        edgeseq.chmod(0o755)
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=folder, check=False, env=with_root())
    assert done.stdout.split() == ["transcribe"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    env = {**os.environ, "_EDGESEQ_COMPLETE": f"source_{shell}"}
    done = subprocess.run(AS_EDGESEQ, capture_output=True, text=True, env=env, check=False)
    assert "_EDGESEQ_COMPLETE=complete_" in done.stdout
