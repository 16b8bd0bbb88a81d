"""A lexicon and a guesser beside a model of phones: its tokens know the one and use the other, in phrases too."""

from types import SimpleNamespace

import pytest
from spelling_language import dictionary
from tone_language import metadata as metadata_of
from typer.testing import CliRunner

from edgeseq import models
from edgeseq.cli import app
from edgeseq.data.graphones import write_guesser
from edgeseq.decoding.lexicon import read_lexicon
from edgeseq.errors import LanguageModelError, ModelError, WordListError
from edgeseq.tokens.packed_lexicon import pack, write_packed
from edgeseq.tokens.table import TokenTable

SYMBOLS = ("<blk>", "▁", "AA", "B", "D", "K", "M", "OW", "S", "SH", "UW")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_packed(pack([("go", ("D", "OW"))]), folder / "en.lexicon")
    (folder / "lines.txt").write_text("go D OW\n")
    write_guesser(dictionary(300, seed=1).items(), folder / "en.guesser")
    return folder


def metadata(folder, symbols=SYMBOLS, **files):
    found = {role: folder / name for role, name in files.items()}
    return metadata_of(tokens=symbols, token_details={"kind": "phones"}, companion_files=found)


@pytest.mark.parametrize("name", ["en.lexicon", "lines.txt"])
def test_tokens_know_the_lexicon_and_use_the_guesser(folder, name):
    tokens = metadata(folder, lexicon=name, guesser="en.guesser").token_table
    assert tokens.pronunciations["go"] == (("D", "OW"),)
    assert tokens.with_guesses(["shado"]).pronunciations["shado"] == (("SH", "AA", "D", "OW"),)
    assert metadata(folder, lexicon=name).token_table.guesser is None


def test_companions_that_do_not_fit(folder):
    with pytest.raises(ModelError, match=r"en.lexicon: not made for .*the lexicon has phones that are no tokens: \['OW'\]"):
        _ = metadata(folder, ("<blk>", "▁", "D"), lexicon="en.lexicon").token_table
    with pytest.raises(ModelError, match=r"en.guesser: not made for .*the guesser has phones that are no tokens"):
        _ = metadata(folder, ("<blk>", "▁", "D", "OW"), lexicon="en.lexicon", guesser="en.guesser").token_table
    with pytest.raises(LanguageModelError, match="not a compiled language model"):
        _ = metadata(folder, lexicon="en.lexicon", guesser="lines.txt").token_table


def test_a_packed_lexicon_is_not_for_letters(folder):
    with pytest.raises(WordListError, match="a packed lexicon has phones, the model's tokens are letters"):
        read_lexicon(folder / "en.lexicon", TokenTable.of_characters(["go"]))


def test_phrases_check_says_what_was_guessed(folder, monkeypatch):
    (folder / "x.yaml").write_text("intents: {x: [go shado]}")
    for files, code in (({"guesser": "en.guesser"}, 0), ({}, 2)):
        about = metadata(folder, lexicon="en.lexicon", **files)
        monkeypatch.setattr(models, "load_recognizer", lambda model, bits=None, about=about: SimpleNamespace(metadata=about))
        done = CliRunner().invoke(app, ["phrases", "check", str(folder / "x.yaml"), "--model", "en"])
        said = (
            "guessed: 'shado' sounds as /SH AA D OW/; correct it"
            if files
            else "lacks 'shado'; wanted words that it has, or phones"
        )
        assert done.exit_code == code and said in done.output
