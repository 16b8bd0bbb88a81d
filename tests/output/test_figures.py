import doctest

import pytest

import edgeseq.output.figures as figures
from edgeseq.errors import UsageError
from edgeseq.output.figures import LANGUAGES, check_language, in_figures


def test_doctests():
    assert doctest.testmod(figures).failed == 0


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("three one four", "314"),
        ("zero four one three nine", "04139"),
        ("zero zero seven", "007"),
        ("zero zero", "00"),
        ("one", "1"),
        ("", ""),
        ("no numbers here", "no numbers here"),
        ("twenty three", "23"),
        ("twenty three four", "23 4"),
        ("three hundred and five", "305"),
        ("two thousand twenty six", "2026"),
        ("five oh five", "505"),
        ("oh well", "oh well"),
        ("call nine one one now", "call 911 now"),
        ("set a timer for twenty five minutes and thirty seconds", "set a timer for 25 minutes and 30 seconds"),
    ],
)
def test_english(said, written):
    assert in_figures(said.split()) == written


def test_other_languages():
    assert in_figures(["drei", "eins", "vier"], "de") == "314"
    assert in_figures(["fünfundzwanzig", "minuten"], "de-AT") == "25 minuten"
    assert in_figures(["trois", "un", "quatre"], "fr") == "314"
    for language in LANGUAGES:
        in_figures(["a"], language)
    with pytest.raises(UsageError, match="'x-tones' cannot be written in figures; wanted one of de, en"):
        check_language("x-tones")
