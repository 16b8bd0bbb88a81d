"""Lexicons and language models that go along with an exported model."""

from dataclasses import replace

import pytest

import edgeseq
from edgeseq.errors import ExportError, ManifestError, ModelError, UsageError
from edgeseq.export.exporter import export
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.building import Plan, build
from edgeseq.tokens.table import TokenTable
from edgeseq.training.sequence_model import build_model
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.weights import load_trained

PHONES = "one W AH N\ntwo T UW\n"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    (folder / "words.dict").write_text("one\ntwo\nthree\n")
    (folder / "phones.dict").write_text(PHONES + "too T UW\n")
    for name, text, level in (
        ("words.lm", "one two\nthree\n", "word"),
        ("letters.lm", "one two\n", "char"),
        ("strange.lm", "x\n", "word"),
    ):
        (folder / "text.txt").write_text(text)
        write_compiled(build([folder / "text.txt"], Plan(level=level)).ngrams, folder / name)
    return folder


@pytest.fixture
def of_phones(make_trained):
    """Random weights whose tokens are phones."""
    trained = make_trained()
    tokens = TokenTable.of_phones([("one", ("W", "AH", "N")), ("two", ("T", "UW"))])
    return replace(
        trained, task=Task(tokens), model=build_model(trained.recipe.frontend, trained.recipe.network, len(tokens)).eval()
    )


def test_companions_are_copied_named_and_used(make_trained, parts, tmp_path):
    files = {"lexicon": parts / "words.dict", "language_model": parts / "words.lm"}
    export(make_trained(), tmp_path / "m", scores={}, flush_seconds=0.2, companions=files, search={"lm_weight": 0.7})
    assert {path.name for path in (tmp_path / "m").iterdir()} >= {"words.dict", "words.lm", "model.onnx", "model.int8.onnx"}
    for bits in (32, 8):
        recognizer = edgeseq.load(tmp_path / "m", bits)
        assert recognizer.decoder.fusion.lm.path == tmp_path / "m" / "words.lm"
        assert recognizer.decoder.fusion.weights.lm == 0.7
    assert recognizer.metadata.companions["search"] == {
        "beam": None,
        "lm_weight": 0.7,
        "word_bonus": 0.0,
        "blank_penalty": 0.0,
        "min_confidence": 0.0,
    }


def test_what_was_released_with_companions_is_exported_with_them_again(make_trained, parts, tmp_path):
    export(make_trained(), tmp_path / "m", scores={}, flush_seconds=0.2, companions={"language_model": parts / "words.lm"})
    again = load_trained(tmp_path / "m")
    export(again, tmp_path / "n", scores={}, bits=(4,), search={"word_bonus": 1.5, "beam": 7})
    metadata = edgeseq.load(tmp_path / "n").metadata
    assert metadata.companion_files == {"language_model": tmp_path / "n" / "words.lm"}
    assert metadata.companions["search"] == {
        "beam": 7,
        "lm_weight": 0.5,
        "word_bonus": 1.5,
        "blank_penalty": 0.0,
        "min_confidence": 0.0,
    }
    export(again, tmp_path / "m", scores={})  # where they lie already
    assert edgeseq.load(tmp_path / "m").metadata.companions["search"]["beam"] is None
    (tmp_path / "m" / "words.lm").unlink()
    with pytest.raises(ModelError, match="there is no such file, and it is the language model of random"):
        load_trained(tmp_path / "m")


def test_the_recipe_names_companions(make_trained, parts, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGESEQ_DATA", str(parts))
    trained = make_trained(export={"lm": "words.lm", "lexicon": "words.dict", "lm_weight": 0.3, "beam": 9})
    export(trained, tmp_path / "m", scores={}, bits=(8,), flush_seconds=0.2, search={"beam": 11})
    metadata = edgeseq.load(tmp_path / "m").metadata
    assert metadata.companions["search"] == {
        "beam": 11,
        "lm_weight": 0.3,
        "word_bonus": 0.0,
        "blank_penalty": 0.0,
        "min_confidence": 0.0,
    }
    assert set(metadata.companion_files) == {"lexicon", "language_model"}
    with pytest.raises(ManifestError, match=r"none.lm: no such file"):
        export(make_trained(export={"lm": "none.lm"}), tmp_path / "x", scores={}, flush_seconds=0.2)


def test_phones_find_their_words_in_the_lexicon_beside_the_model(of_phones, parts, tmp_path):
    files = {"lexicon": parts / "phones.dict", "language_model": parts / "words.lm"}
    export(of_phones, tmp_path / "m", scores={}, flush_seconds=0.2, companions=files)
    metadata = edgeseq.load(tmp_path / "m").metadata
    assert metadata.token_details == {"kind": "phones"}, "the words are not in the model's file a second time"
    assert metadata.token_table.pronunciations["too"] == (("T", "UW"),)
    assert load_trained(tmp_path / "m").tokens.pronunciations.keys() == {"one", "two"}, "what it was trained with"


@pytest.mark.parametrize(
    ("files", "fault", "message"),
    [
        (
            {"lexicon": "phones.dict", "language_model": "strange.lm"},
            ExportError,
            r"strange.lm: knows 0 of the 3 words(?s:.)*--vocab",
        ),
        ({"lexicon": "phones.dict", "language_model": "letters.lm"}, UsageError, "predicts letters"),
        ({"lexicon": "words.dict"}, ModelError, r"words.dict: not made for random: .* without phones"),
        ({"lexicon": "words.lm"}, ModelError, r"words.lm"),
        ({"language_model": "phones.dict"}, edgeseq.EdgeseqError, "not a compiled language model"),
    ],
)
def test_companions_that_do_not_fit_are_refused_before_anything_is_written(of_phones, parts, tmp_path, files, fault, message):
    with pytest.raises(fault, match=message):
        export(of_phones, tmp_path / "m", scores={}, flush_seconds=0.2, companions={k: parts / v for k, v in files.items()})
    assert not (tmp_path / "m").exists()
