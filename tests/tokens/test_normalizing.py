"""Texts from anywhere: what nobody sees makes no token, and small letters are those of the language."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest
import soundfile
from command_line import run

import edgeseq.tokens.normalizing
from edgeseq.data.check import check
from edgeseq.data.manifest import read_manifest
from edgeseq.decoding.hotwords import Hotword, parse_hotword
from edgeseq.phrases.content import words as words_of
from edgeseq.phrases.file import parse_phrases
from edgeseq.tokens.normalizing import invisible, normalize_text
from edgeseq.tokens.table import TokenTable


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("ze\u200bro fo\u00adur one\u0007", "", "zero four one"),
        ("\ufeffzero\ufeff one", "", "zero one"),
        ("a\u202eb\u2066c", "", "abc"),
        ("one\ud800", "", "one"),
        ("a\u00a0b\u3000c\u2009d\x85e", "", "a b c d e"),
        ("می\u200cخواهم", "fa", "می\u200cخواهم"),
        ("no\u200cway", "en", "noway"),
        ("IŞIK İSTANBUL", "tr", "ışık istanbul"),
        ("IŞIK İSTANBUL", "tr-TR", "ışık istanbul"),
        ("I\u0307stanbul QIZIL", "az", "istanbul qızıl"),
        ("IŞIK İSTANBUL", "", "işik istanbul"),
        ("İİ i\u0307", "de", "ii i\u0307"),
        ("E\u0301COLE", "fr", "école"),
    ],
)
def test_normal_forms(text, language, normal):
    assert normalize_text(text, language) == normal
    assert normalize_text(normal, language) == normal
    table = TokenTable.of_characters([text], language)
    assert set(table.symbols[2:]) == set(normal) - {" "}
    assert table.decode(table.encode(text)) == normal


def test_capitals_alone_leave_no_dot_behind():
    for capital in map(chr, range(0x10000)):
        if "\u0307" not in capital:
            assert "\u0307" not in normalize_text(capital) or "\u0307" in capital.lower() != "i\u0307"


def test_invisible_characters_are_named_once():
    assert list(invisible("a\u200bb\u200b\u0007")) == ["U+200B (zero width space)", "U+0007 (control character)"]
    assert list(invisible("می\u200cخواهم plain text\n\tß日本")) == []


def test_doctests():
    assert doctest.testmod(edgeseq.tokens.normalizing).failed == 0


def test_the_language_reaches_phrases_and_hotwords():
    for phrases in (
        parse_phrases("language: tr\nintents: {light: [IŞIK AÇ]}"),
        parse_phrases("intents: {light: [IŞIK AÇ]}", language="tr"),
    ):
        assert [word.text for phrase in phrases.intents["light"] for word in words_of(phrase.node)] == ["ışık", "aç"]
    assert parse_hotword("IŞIK:2", "tr") == Hotword("ışık", 2.0)


# Manifests


@pytest.fixture
def corpus(tmp_path):
    def write(*texts, mark="", name="train.jsonl"):
        lines = []
        for number, text in enumerate(texts):
            soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).normal(size=24_000), 8000)
            lines.append(json.dumps({"audio_filepath": f"{number}.wav", "duration": 3.0, "text": text}))
        (tmp_path / name).write_bytes((mark + ("\n" + mark).join(lines) + "\n").encode())
        return tmp_path / name

    return write


def test_data_check_finds_what_nobody_sees_and_prints_it_harmlessly(corpus):
    manifest = corpus("ze\u200bro fo\u00adur one\u0007", "zero four one", "half \ud800", "\x1b[31mred")
    report = check(manifest)
    found = [finding.what for finding in report.findings if finding.kind == "invisible character"]
    assert [what.split(" in ")[0] for what in found] == [
        "invisible character U+200B (zero width space)",
        "invisible character U+00AD (soft hyphen)",
        "invisible character U+0007 (control character)",
        "invisible character U+D800 (half a character)",
        "invisible character U+001B (control character)",
    ]
    for words in ([], ["--json"]):
        done = run("data", "check", manifest, *words, text=False)
        assert b"U+200B" in done.stdout and b"Traceback" not in done.stderr
        assert not set(done.stdout) & (set(range(32)) - {10}) and b"\x7f" not in done.stdout


def test_data_check_asks_for_the_language_of_turkish(corpus):
    manifest = corpus("IŞIK İSTANBUL")
    assert [finding.kind for finding in check(manifest).findings] == ["capital"]
    report = check(manifest, language="tr")
    assert not report.findings and "ı" in report.to_dict()["characters"]
    assert "i\u0307" not in "".join(check(manifest).to_dict()["characters"])


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff"])
def test_byte_order_marks_of_manifests_are_passed_over(corpus, mark):
    manifest = corpus("zero", "one", mark=mark)
    assert [recording.text for recording in read_manifest(manifest)] == ["zero", "one"]
    index = pytest.importorskip("edgeseq.training.manifest_index").ManifestIndex.of(manifest)
    assert list(index.texts()) == ["zero", "one"] and index[1].text == "one"
    assert run("data", "check", manifest).returncode == 0


def test_a_manifest_in_utf_16_says_so(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"audio_filepath": "a.wav"}', encoding="utf-16")
    done = run("data", "check", tmp_path / "x.jsonl")
    assert done.returncode == 1 and "UTF-16" in done.stderr
