"""What README and docs tell people to type exists, with these options; what they list is all there is."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from edgeseq.cli import app
from edgeseq.model.metadata import TASKS, stored_fields

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for where in (".", "docs", "docs/examples", "demo", "deploy", "models/*", "recipes", "recipes/*")
    for path in ROOT.glob(f"{where}/*.md")
)
OTHERS = [*ROOT.glob("recipes/*.yaml"), *ROOT.glob("deploy/*.service")]
OTHERS += [
    ROOT / "docs/examples" / name
    for name in ("lamp.py", "last_tone.yaml", "live_subtitles.py", "mqtt_intents.py", "subtitles.sh", "websocket_client.py")
]
HAS_MODEL = (ROOT / "models/digits-en/model.int8.onnx").is_file()

COMMANDS = typer.main.get_command(app)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"(?:^|[|;&] *|\$ |: +)(?:[~./\w-]*/)?edgeseq +([^|;&>#`]+)")
"""`edgeseq` where a command begins, and its words up to a pipe, a redirection or a comment."""


def name_of(path):
    return str(path.relative_to(ROOT))


def typed_lines(path):
    """Command lines that a page shows: indented, or in a block without a language."""
    text = path.read_text(encoding="utf-8")
    fenced = [line for language, block in BLOCK.findall(text) if language in ("", "sh") for line in block.splitlines()]
    indented = [line[4:] for line in BLOCK.sub("", text).splitlines() if line.startswith("    ")]
    return [words.strip() for line in fenced + indented for words in TYPED.findall(line)]


def mentioned(path):
    """Commands in running text, in backquotes; they may leave out what is needed."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    return [words.strip() for words in re.findall(r"`edgeseq ([^`]+)`", text)]


def find_command(words):
    """Walk down to the command; returns it and the words that are left."""
    command, rest = COMMANDS, list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no `edgeseq {' '.join(words)}`"
        command = command.commands[rest.pop(0)]
    return command, rest


def check_typed(line):
    """Parse a line as the program would, without running it."""
    command, rest = find_command(shlex.split(line))
    if rest not in (["--help"], ["--version"]):
        command.make_context("edgeseq", rest)


def check_mentioned(line):
    if line.startswith("COMMAND"):
        return
    command, rest = find_command(shlex.split(line))
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in rest if word.startswith("--")} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_the_pages_exist(page):
    for line in typed_lines(page):
        check_typed(line)
    for line in mentioned(page):
        check_mentioned(line)


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_commands_of_other_files_exist(path):
    lines = [line.lstrip("# ").removeprefix("ExecStart=") for line in path.read_text(encoding="utf-8").splitlines()]
    commands = [re.split(r" {3,}", words)[0] for line in lines for words in TYPED.findall(line)]
    assert commands
    for line in commands:
        check_typed(line)


def test_commands_of_the_help_exist():
    def helps(command):
        yield command.help or ""
        for child in getattr(command, "commands", {}).values():
            yield from helps(child)

    lines = [words for text in helps(COMMANDS) for line in text.splitlines() for words in TYPED.findall(line.strip())]
    assert len(lines) >= 10
    for line in lines:
        check_typed(line.strip())


def test_a_command_that_does_not_exist_is_found():
    with pytest.raises(AssertionError, match="there is no"):
        check_typed("lissen --input a.wav")
    with pytest.raises(Exception, match="--inputs"):
        check_typed("listen --inputs a.wav")
    with pytest.raises(AssertionError):
        check_mentioned("listen --inputs")
    assert TYPED.findall("    $ .venv/bin/edgeseq listen --input - | jq") == ["listen --input - "]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        expected_later = target.startswith("models/") and not HAS_MODEL
        assert target.startswith("https://") or expected_later or (page.parent / target).exists(), target


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))) <= targets, page


def test_every_key_of_the_metadata_is_explained():
    page = (ROOT / "docs/model-format.md").read_text(encoding="utf-8")
    for field in {field.name for kind in TASKS.values() for field in stored_fields(kind)}:
        assert f"| `{field}` |" in page, field


def test_the_keys_of_a_recipe_are_up_to_date():
    from recipe_table import table

    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert table() in page, "edgeseq/training/recipe.py has changed: run `make docs`"


def test_the_recipes_shown_are_recipes():
    yaml = pytest.importorskip("yaml")
    from edgeseq.training.recipe_file import parse_recipe

    shown = [text for language, text in BLOCK.findall((ROOT / "docs/training.md").read_text()) if language == "yaml"]
    assert shown and all(parse_recipe(yaml.safe_load(text), "docs/training.md") for text in shown)


@pytest.mark.skipif(not HAS_MODEL, reason="models/digits-en is not there")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_of_the_pages_runs(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            code = compile(text, page.name, "exec")
            if "Microphone(" not in text:
                exec(code, {})


def test_every_limit_of_a_server_is_explained():
    from edgeseq.serve.limits import Limits

    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Limits):
        assert f"| `{field.name}` | {field.default:,.0f} |" in page, field.name
