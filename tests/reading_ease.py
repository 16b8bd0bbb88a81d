"""Reading ease of pages: the share of long sentences, page by page. `python tests/reading_ease.py [--show] [PAGE...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from prose import ROOT, sentences

LONG = 30
"""Words; a sentence of more is long."""
MOST = 0.03
"""Largest share of long sentences in README and docs."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def long_sentences(page: Path) -> tuple[list[str], int]:
    """Sentences of a page that are long, and how many sentences it has."""
    found = sentences(page.read_text(encoding="utf-8"))
    return [sentence for sentence in found if len(sentence.split()) > LONG], len(found)


def report(pages: list[Path], show: bool) -> None:
    """Print one line per page and one for all; with `show`, the long sentences too."""
    n_long = n_all = 0
    for page in pages:
        long, count = long_sentences(page)
        n_long, n_all = n_long + len(long), n_all + count
        print(f"{len(long) / max(count, 1):6.1%}  {len(long):4} of {count:5}  {page}")
        for sentence in long if show else ():
            print(f"        {len(sentence.split())} words: {sentence}")
    print(f"{n_long / max(n_all, 1):6.1%}  {n_long:4} of {n_all:5}  all; over {LONG} words")


if __name__ == "__main__":
    named = [Path(word) for word in sys.argv[1:] if word != "--show"]
    report(named or PAGES, "--show" in sys.argv)
