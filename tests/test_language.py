"""Plain English: phrases that no page, message or comment uses, each with the plain word; and how long sentences are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prose import PAGES, ROOT, lines, paragraphs, sentences, strings
from reading_ease import MOST, long_sentences
from reading_ease import PAGES as EASY_PAGES

UNIT = (
    "line|row|file|word|phrase|sentence|step|chunk|clip|recording|utterance|stream|"
    "letter|token|model|process|module|message|client|core|final"
)
COMPARED = "more|less|worse|matter|(?:bett|fast|hard|high|larg|long|low|short|slow|small)er"
PLAIN = {
    r"told": "reported, sent, shown, said",
    r"tells? of": "describes, reports",
    r"(?:give|gives|given|gave|giving) out": "reported, returned",
    r"(?:go|goes|gone|went) on(?! (?:it|them|the|a|your|GPUs?)\b)": "continue, resume",
    r"going on(?! (?:it|them)\b)": "running",
    r"anew": "again, afresh",
    r"be(?:gins?|gun|gan) again": "start over, restart",
    r"who(?:so)?ever": "who, anyone who",
    r"(?<!not )so many(?! that)": "that many, N",
    r"(?:for|by) so (?:long|much)": "for that long, by that much",
    rf"(?<!there )(?<!that )(?<!which )(?:is|are) no(?! (?:{COMPARED})\b)": "is not, has no",
    r"(?:^|(?<=[.!?;:] ))(?-i:Of)(?! course\b)": "Among ..., or the subject first",
    r"(?:^|(?<=[.!?;:] ))(?-i:Said|Shown|Seen|Heard|Counted|Found|Kept) (?:is|are|was|were|so)": "subject first",
    r"belongs? into": "belongs in",
    r"without rights": "unprivileged",
    r"in truth": "in fact",
    r"prouder|shyer": "over-confident, under-confident",
    r"kept apart": "held out",
    r"passed over": "ignored",
    r"(?:is|are|was|were|be) looked for": "is searched for",
    r"taken? for one": "mistaken for one",
    r"more readily": "more easily",
    r"(?:and|or) (?:its|their) like": "similar",
    r"be it": "whether",
    r"stands? in(?! for\b)": "is in",
    r"stands? (?:above|below|beside|behind|before|under)(?! the noise)": "is above, follows, precedes",
    r"behind it\b": "after it",
    r"but for(?! (?:this|that|each|every|all)\b)": "except",
    r"mend(?:s|ed|ing)?": "fix",
    r"at last": "finally",
    r"at hand": "available",
    r"squeezed": "compressed",
    r"brings? (?:\w+ ){0,6}along": "comes with, includes",
    r"(?:where|there|here)(?:of|upon|to|from|in)": "of which, from there",
    r"lest|whence|thence|thrice": "so that ... not, from where, three times",
    r"all the same(?! \w)": "anyway",
    r"(?:is|are) well": "is correct",
    r"from (?:boot|\d[\d.]*) on": "from boot, or later",
    r"unless (?:told|said|asked) otherwise|unless said": "by default",
    rf"an? (?:JSON )?(?:{UNIT}|second) an? (?:{UNIT})": "per (one line per file)",
    rf"an? (?:{UNIT}) each": "one ... per ..., one ... for each",
    r"once more": "again",
}
"""Pattern, between the borders of words, and what plain English says instead."""

ALLOWED = (
    r"`[^`]*`",
    r"\]\([^)]*\)",
    r"not so many that",
)
"""What is taken out of a text before it is searched: code, addresses, and uses that are right."""

SEARCHED = [(re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE), plain) for pattern, plain in PLAIN.items()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def faults(text: str) -> list[str]:
    """What a text says that English says otherwise."""
    plain = text
    for allowed in ALLOWED:
        plain = re.sub(allowed, "``", plain)
    found = [(match, instead) for search, instead in SEARCHED for match in search.finditer(plain)]
    return [f"{m.group()!r} in {plain[max(m.start() - 30, 0) : m.end() + 30]!r}: {instead}" for m, instead in found]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_plain_english(page):
    found = [fault for text in paragraphs(page.read_text(encoding="utf-8")) for fault in faults(text)]
    assert not found, "\n".join(found)


MODULES = [
    path
    for where in ("edgeseq/**/*.py", "benchmarks/**/*.py", "docs/examples/*.py", "recipes/**/*.py")
    for path in sorted(ROOT.glob(where))
]
OTHERS = [
    path
    for where in (
        "Makefile",
        "recipes/**/*.yaml",
        "deploy/*.s*",
        "demo/*.sh",
        "docs/examples/*.yaml",
        "docs/examples/*.sh",
        "docs/examples/*.mjs",
        "docs/examples/*.ipynb",
        "edgeseq/report/*.html",
        "edgeseq/serve/static/*.*",
    )
    for path in sorted(ROOT.glob(where))
    if path.suffix not in (".svg", ".png", ".ico")
]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_messages_docstrings_and_comments_are_plain_english(module):
    found = [
        f"line {line}: {fault}"
        for line, text in strings(module.read_text(encoding="utf-8"))
        for paragraph in text.split("\n\n")
        for fault in faults(" ".join(paragraph.split()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_recipes_units_and_the_web_page_are_plain_english(path):
    found = [f"line {number}: {fault}" for number, line in lines(path.read_text(encoding="utf-8")) for fault in faults(line)]
    assert not found, "\n".join(found)


def test_sentences_are_short():
    counts = [long_sentences(page) for page in EASY_PAGES]
    n_long, n_all = sum(len(long) for long, _ in counts), sum(count for _, count in counts)
    assert n_long < MOST * n_all, f"{n_long} of {n_all} sentences are long: run `python tests/reading_ease.py --show`"


FOREIGN = (
    "Said was: no.",
    "The run goes on.",
    "Of all words one counts.",
    "It belongs into a file.",
    "A word a line.",
    "It is told so.",
)
PLAINER = (
    "Of course it works.",
    "There is no such file.",
    "`told` is a variable.",
    "It is no longer read.",
    "It is one line per file.",
)


def test_a_foreign_phrase_is_found():
    for text in FOREIGN:
        assert faults(text), text
    for text in PLAINER:
        assert not faults(text), text


PAGE = """# A title

One line [and a link](a.md#b). Two `code words` here
end.

    code

- An item of a list
  in two lines.

| a | what it is for |
|---|---|
"""


def test_prose_of_a_page():
    assert sentences(PAGE) == [
        "One line and a link.",
        "Two `code` here end.",
        "An item of a list in two lines.",
        "what it is for",
    ]


def test_strings_of_a_module():
    module = '"A docstring."\nx = f"{1} is not {2}"  # a note\n'
    assert [text for _, text in strings(module)] == ["A docstring.", "{} is not {}", "a note"]
