"""What people read in this repository: paragraphs of pages, and strings and comments of modules."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHERE = ("*.md", "docs/*.md", "docs/examples/*.md", "deploy/*.md", "demo/*.md", "recipes/**/*.md", "models/**/*.md")
PAGES = sorted(path for where in WHERE for path in ROOT.glob(where))

BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.) +")
LOWER = "edgeseq|espeak-ng|onnxruntime|torch|systemd|ffmpeg|sherpa-onnx"
"""Names that keep their small letter where a sentence begins."""
END = re.compile(rf"(?<=[.!?])[\"')*]* +(?=[\"'(*`]*(?:[A-Z0-9`]|(?:{LOWER})\b))")
"""The blank behind a sentence: what follows begins with a capital, a figure, code or a name."""
APART = ("#", "![", "<!--")
"""Beginnings of lines that are no prose: headings, pictures, comments."""


def paragraphs(page: str) -> Iterator[str]:
    """Running text of a Markdown page: paragraphs, list items and cells of tables, each on one line; no code, no headings."""
    lines: list[str] = []
    for line in [*BLOCK.sub("", page).splitlines(), ""]:
        plain = line.strip()
        code = line.startswith("    ") and not lines
        if lines and (not plain or plain.startswith(("|", *APART)) or ITEM.match(line)):
            yield " ".join(lines)
            lines = []
        if plain.startswith("|"):
            yield from (cell.strip() for cell in plain.strip("|").split(" | ") if cell.strip(" -|"))
        elif plain and not code and not plain.startswith(APART):
            lines.append(ITEM.sub("", line).strip())


def as_spoken(paragraph: str) -> str:
    """A paragraph with links as their text and code as one word."""
    linked = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", paragraph)
    return re.sub(r"`[^`]+`", "`code`", linked).replace("**", "")


def sentences(page: str) -> list[str]:
    """Sentences of a page; fewer than four words, as in most cells of tables, are none."""
    found = [sentence for text in paragraphs(page) for sentence in END.split(as_spoken(text))]
    return [sentence for sentence in found if len(sentence.split()) >= 4]


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Strings and comments of a module with their lines; what a formatted string puts in is `{}`."""
    within = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            within.update(id(part) for part in node.values)
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a file that is no module, such as a recipe or a web page, with their numbers."""
    yield from enumerate(text.splitlines(), 1)
