"""Metadata: complete, checked, all faults at once."""

import pytest
from tone_language import metadata

from edgeseq.errors import ModelError
from edgeseq.model.metadata import FORMAT, ModelMetadata


def test_it_comes_back_from_its_strings():
    written = metadata(scores={"wer": 0.01}, flush_seconds=0.24)
    assert ModelMetadata.from_strings(written.to_strings(), "m.onnx") == written


def test_all_faults_are_listed():
    strings = metadata().to_strings()
    del strings["edgeseq.language"]
    strings |= {"edgeseq.sample_rate": "0", "edgeseq.flush_seconds": "soon", "edgeseq.tokens": '["a"]', "edgeseq.config": "{"}
    with pytest.raises(ModelError) as caught:
        ModelMetadata.from_strings(strings, "m.onnx")
    message = str(caught.value)
    wanted = ("language' is missing", "at least 1", "wanted a number", "holds no <blk>", "not JSON")
    assert [words for words in wanted if words not in message] == []


@pytest.mark.parametrize("strings", [{}, {"other": "1"}])
def test_foreign_onnx_files_are_told_apart(strings):
    with pytest.raises(ModelError, match="not one of edgeseq's"):
        ModelMetadata.from_strings(strings, "m.onnx")


def test_a_newer_format_asks_for_an_update():
    strings = metadata().to_strings() | {"edgeseq.format": str(FORMAT + 1)}
    with pytest.raises(ModelError, match="Update edgeseq"):
        ModelMetadata.from_strings(strings, "m.onnx")


def test_files_of_before_delays_and_confidences_were_measured():
    strings = metadata().to_strings()
    for key in ("emission_delay_seconds", "ending_delay_seconds", "confidence_maps"):
        del strings["edgeseq." + key]
    assert ModelMetadata.from_strings(strings, "m.onnx") == metadata()


def test_the_threshold_of_phrases_is_there_where_it_was_measured():
    assert "edgeseq.phrase_threshold" not in metadata().to_strings()
    strings = metadata(phrase_threshold=-0.31).to_strings()
    assert ModelMetadata.from_strings(strings, "m.onnx").phrase_threshold == -0.31
    for wrong in ("0.5", "nan", "-inf", "low"):
        with pytest.raises(ModelError, match=r"phrase_threshold': wanted a number"):
            ModelMetadata.from_strings(strings | {"edgeseq.phrase_threshold": wrong}, "m.onnx")


SUBWORDS = {"tokens": ("<blk>", "▁", "a", "▁a"), "token_details": {"kind": "subwords", "scores": [0.0, -1.5, -2.0, -0.5]}}
PHONES = {"tokens": ("<blk>", "▁", "AH"), "token_details": {"kind": "phones", "lexicon": "uh AH\n"}}


@pytest.mark.parametrize(("fields", "kind"), [({}, "characters"), (SUBWORDS, "subwords"), (PHONES, "phones")])
def test_kinds_of_tokens_come_back(fields, kind):
    written = metadata(**fields)
    assert ("edgeseq.token_details" in written.to_strings()) == (kind != "characters")  # older files have none
    read = ModelMetadata.from_strings(written.to_strings(), "m.onnx")
    assert read == written and read.token_table.kind == kind


def test_token_details_that_do_not_fit_are_told():
    strings = metadata(**SUBWORDS).to_strings() | {"edgeseq.token_details": '{"kind": "subwords", "scores": [1]}'}
    with pytest.raises(ModelError, match="token_details': 1 scores for 4 tokens"):
        ModelMetadata.from_strings(strings, "m.onnx")
