"""A model with a lexicon and a language model beside it: dictation by default, and what is said where one is missing."""

import json
import shutil

import pytest
import soundfile

import edgeseq
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.errors import LanguageModelError, ModelError
from edgeseq.model.companions import SearchDefaults, find_companions, named, sha256_of
from edgeseq.model.metadata import ModelMetadata
from edgeseq.models import verify

pytest.importorskip("onnx")
import tone_language as tones
from command_line import run

LEXICON = "one\ntoo two\ntwo two\nthree\n"
"""Of the words that sound as "two" the language model takes the likelier; without one, "too" comes first."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A lexicon, language models that prefer either spelling, and sound."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "words.dict").write_text(LEXICON)
    for name, text in (("usual", "one two\none two\nthree\none\n"), ("other", "one too\none too\nthree\none\n")):
        (folder / f"{name}.txt").write_text(text * 3)
        assert run("lm", "build", f"{name}.txt", "--out", f"{name}.lm", cwd=folder).returncode == 0
    soundfile.write(folder / "a.wav", tones.say("one two"), tones.SAMPLE_RATE)
    return folder


@pytest.fixture
def shelf(parts, tmp_path):
    """A folder of models: `dictating`, with both companions."""
    folder = tmp_path / "shelf" / "dictating"
    folder.mkdir(parents=True)
    for name in ("words.dict", "usual.lm"):
        shutil.copy(parts / name, folder)
    files = {"lexicon": folder / "words.dict", "language_model": folder / "usual.lm"}
    companions = named(files, SearchDefaults(beam=5, lm_weight=0.7))
    tones.save(folder / "model.int8.onnx", name="dictating", companions=companions)
    return folder.parent


def heard(shelf, parts, *options):
    done = run("transcribe", "--model", "dictating", "--format", "text", *options, parts / "a.wav", env=on(shelf))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def on(shelf):
    return {"EDGESEQ_MODELS": str(shelf)}


def test_a_model_with_companions_dictates_without_options(shelf, parts):
    recognizer = edgeseq.load(shelf / "dictating")
    assert recognizer.transcribe(parts / "a.wav").text == "one two"
    fusion, options = recognizer.decoder.fusion, recognizer.decoder.options
    assert fusion.lm.path == shelf / "dictating" / "usual.lm" and options.beam == 5 and fusion.weights.lm == 0.7
    assert fusion.lexicon.words("two") == ("too", "two")


def test_options_override_what_the_model_brings(shelf, parts, tmp_path):
    assert heard(shelf, parts) == "one two"
    assert heard(shelf, parts, "--lm", parts / "other.lm") == "one too"
    assert heard(shelf, parts, "--nbest", "2", "--beam", "9") == "one two", "a wider beam with the model's own words"
    (tmp_path / "other.dict").write_text("eins one\nzwei two\n")
    assert heard(shelf, parts, "--lexicon", tmp_path / "other.dict") == "eins zwei"
    (tmp_path / "phrases.yaml").write_text("intents: {x: [one three, one two]}")
    assert heard(shelf, parts, "--phrases", tmp_path / "phrases.yaml") == "one two"


def test_greedy_leaves_the_companions_aside(shelf, parts, tmp_path):
    soundfile.write(tmp_path / "new.wav", tones.say("new"), tones.SAMPLE_RATE)
    words = ("transcribe", "--model", "dictating", tmp_path / "new.wav")
    assert "new" not in run(*words, env=on(shelf)).stdout.split(), "not in the lexicon"
    assert run(*words, "--greedy", env=on(shelf)).stdout.split() == ["new"]
    done = run(*words, "--greedy", "--beam", "4", env=on(shelf))
    assert done.returncode == 2 and "--greedy searches nothing; leave out --beam, or --greedy" in done.stderr


def test_eval_and_the_default_model_dictate(shelf, parts):
    line = {
        "audio_filepath": str(parts / "a.wav"),
        "duration": soundfile.info(parts / "a.wav").duration,
        "text": "one two",
        "speaker": "x",
    }
    (shelf / "m.jsonl").write_text(json.dumps(line) + "\n")
    default = on(shelf) | {"EDGESEQ_DEFAULT_MODEL": "dictating"}
    done = run("eval", "--manifest", shelf / "m.jsonl", "--json", env=default)
    assert done.returncode == 0 and json.loads(done.stdout)["wer"] == 0.0, done.stderr
    assert run("transcribe", parts / "a.wav", env=default).stdout.strip() == "one two"
    done = run("transcribe", parts / "a.wav", env=default | {"EDGESEQ_DEFAULT_MODEL": "nowhere"})
    assert done.returncode == 2 and "no model 'nowhere'" in done.stderr


@pytest.mark.parametrize("name", ["words.dict", "usual.lm"])
def test_a_missing_companion_is_an_error_with_the_next_step(shelf, parts, name):
    (shelf / "dictating" / name).unlink()
    with pytest.raises(
        ModelError, match=rf"{name}: there is no such file, and it is the (lexicon|language model) of dictating"
    ):
        edgeseq.load(shelf / "dictating")
    done = run("transcribe", "--model", "dictating", parts / "a.wav", env=on(shelf))
    assert done.returncode == 1 and "Copy the model's whole folder, or export the model again" in done.stderr
    assert "companions missing" in run("models", "list", env=on(shelf)).stdout


def test_another_companion_of_the_same_name_is_an_error(shelf, parts):
    shutil.copy(parts / "other.lm", shelf / "dictating" / "usual.lm")
    seen, wanted = sha256_of(parts / "other.lm"), sha256_of(parts / "usual.lm")
    with pytest.raises(
        ModelError, match=rf"not the language model of dictating: its SHA-256 is {seen}; the model wants {wanted}"
    ):
        edgeseq.load(shelf / "dictating")


def test_models_list_info_and_verify_show_companions(shelf, parts):
    assert "8 bit" in (listed := run("models", "list", env=on(shelf)).stdout) and "lexicon 0.00 MB, language model" in listed
    about = json.loads(run("models", "info", "dictating", "--json", env=on(shelf)).stdout)["companions"]
    assert about["lexicon"] == {"file": "words.dict", "sha256": sha256_of(parts / "words.dict")}
    assert about["search"] == {"beam": 5, "lm_weight": 0.7, "word_bonus": 0.0, "blank_penalty": 0.0, "min_confidence": 0.0}
    assert "usual.lm, the language model" in run("models", "info", "dictating", env=on(shelf)).stdout
    done = run("models", "verify", "dictating", env=on(shelf))
    assert done.returncode == 0 and "ok  language model: usual.lm" in done.stdout
    assert "ok  words: 4 words, a language model of 6" in done.stdout


def test_a_damaged_language_model_fails_verification_even_if_it_is_the_one_that_was_named(shelf):
    path = shelf / "dictating" / "usual.lm"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    folder = path.parent
    files = {"language_model": path}
    tones.save(folder / "model.int8.onnx", companions=named(files))
    with pytest.raises(LanguageModelError, match="the checksum is"):
        list(verify(folder / "model.int8.onnx"))


def test_metadata_keeps_companions_and_refuses_what_cannot_be_meant():
    entry = {"file": "a.lm", "sha256": "0" * 64}
    companions = {"language_model": entry, "something_newer": {"a": 1}}
    strings = tones.metadata(companions=companions).to_strings()
    assert ModelMetadata.from_strings(strings, "x").companions == companions
    assert "edgeseq.companions" not in tones.metadata().to_strings()
    for wrong, message in (
        ({"lexicon": "a.dict"}, "lexicon is not an object with 'file' and 'sha256'"),
        ({"lexicon": {"file": "../a.dict", "sha256": ""}}, "wanted the name of a file beside the model"),
        ({"lexicon": {"file": "..", "sha256": ""}}, "wanted the name of a file beside the model"),
        ({"search": {"beam": 0}}, "search is not an object of beam, lm_weight, word_bonus"),
        ({"search": {"width": 9}}, "search is not an object of"),
    ):
        with pytest.raises(ModelError, match=message):
            ModelMetadata.from_strings(tones.metadata(companions=wrong).to_strings(), "x")


def test_without_companions_nothing_changes(tone_recognizer, tone_model):
    assert isinstance(tone_recognizer.decoder, GreedyDecoder)
    assert find_companions({}, tone_model, "tones") == {}
    assert tone_recognizer.metadata.companion_files == {}
