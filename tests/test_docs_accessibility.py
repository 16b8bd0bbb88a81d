"""Pages that a screen reader can find its way in: headings, links, pictures, tables."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from prose import PAGES, ROOT

FENCED = re.compile(r"^```(.*?)\n.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#{1,6}) +(.+)$", re.MULTILINE)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)")
SAYS_NOTHING = re.compile(
    r"(click |see |read )?(here|this|more|link|page|this (page|link)|read more|https?://\S+)", re.IGNORECASE
)
DIVIDER = re.compile(r"^\|(?: *:?-+:? *\|)+ *$")
LEAST_ALT = 10
"""Letters that say what a picture shows."""


def name_of(path):
    return str(path.relative_to(ROOT))


def prose_of(path):
    """A page without its code."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def heading_faults(text):
    levels = [len(marks) for marks, _ in HEADING.findall(text)]
    if levels[:1] != [1] or levels.count(1) != 1:
        return [f"{levels.count(1)} titles; wanted one, and first"]
    return [f"from level {a} to {b}" for a, b in pairwise(levels) if b > a + 1]


def link_faults(text):
    return [shown for shown, _ in LINK.findall(IMAGE.sub("", text)) if SAYS_NOTHING.fullmatch(shown.strip("` "))]


def image_faults(text):
    return [target for shown, target in IMAGE.findall(text) if len(shown) < LEAST_ALT]


def table_faults(text):
    """First rows of tables whose columns are not all named."""
    lines = text.splitlines()
    heads = [lines[n - 1] for n, line in enumerate(lines) if n and DIVIDER.match(line.strip())]
    return [head for head in heads if not all(cell.strip() for cell in head.strip().strip("|").split("|"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_headings_make_an_outline(page):
    assert heading_faults(prose_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_say_where_they_lead(page):
    assert link_faults(prose_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_described(page):
    assert image_faults(prose_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_columns_of_tables_are_named(page):
    assert table_faults(prose_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_in_fences_names_its_language(page):
    fences = re.findall(r"^```(\w*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(fences[::2]), "wanted ```sh, ```yaml ...; commands may be indented instead"


def test_faults_are_found():
    assert heading_faults("# A\n\n### B\n") and heading_faults("## A\n") and heading_faults("# A\n# B\n")
    assert link_faults("[here](a.md) [this page](b.md)") == ["here", "this page"]
    assert image_faults("![](a.png)") and table_faults("| a | |\n|---|---|\n")
    assert not table_faults("| a | b |\n|---|--:|\n")
