"""Characters, subwords and phones, from recipe to words: trained, exported, verified, heard in pieces, by every decoder.

Every letter is a tone. Phones are written otherwise than letters, and two words sound alike, so that nothing passes by chance.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import command_line
import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile

import edgeseq
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.decoding.hotwords import Hotword
from edgeseq.decoding.loading import load_beam
from edgeseq.errors import ManifestError, RecipeError, UsageError, WordListError
from edgeseq.events import Final, Partial
from edgeseq.export.exporter import export
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.model.metadata import FORMATS
from edgeseq.models import read_metadata, verify
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.stream.recognizer import Recognizer
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint
from edgeseq.training.metric import PER, WER
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.trainer import train
from edgeseq.training.weights import load_trained

RATE = 8000
PITCHES = {"a": 350, "o": 700, "t": 1400, "s": 2600}
WORDS = ("sat", "toast", "oats", "as", "so", "tot")
LEXICON = "".join(f"{word} {' '.join(letter.upper() * 2 for letter in word)}\n" for word in WORDS) + "tote TT OO TT\n"
"""tote sounds as tot does"""
KINDS = {
    "characters": {},
    "subwords": {"kind": "subwords", "size": 9},
    "phones": {"kind": "phones", "lexicon": "lexicon.txt"},
    "phones-alone": {"kind": "phones", "lexicon": "lexicon.txt", "word_start": False},
}
SILENCE = np.zeros(RATE // 5, dtype=np.float32)


def say(text, speed=1.0):
    """Speak words, a tone of 120 ms for each letter; 200 ms of silence before each word and after the last."""
    time = np.arange(round(0.12 * RATE / speed)) / RATE
    swell = np.hanning(len(time)) ** 0.25
    tones = {letter: (0.3 * swell * np.sin(2 * np.pi * pitch * speed * time)) for letter, pitch in PITCHES.items()}
    spoken = [part for word in text.split() for part in (SILENCE, *(tones[letter] for letter in word))]
    return np.concatenate([*spoken, SILENCE]).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a manifest of 24 clips and a lexicon."""
    folder = tmp_path_factory.mktemp("letters")
    lines = []
    for word in WORDS:
        for speed in (0.95, 1.0, 1.05, 1.1):
            name, samples = f"{word}-{speed}.flac", say(word, speed)
            soundfile.write(folder / name, samples, RATE)
            lines.append({"audio_filepath": name, "duration": len(samples) / RATE, "text": word})
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "lexicon.txt").write_text(LEXICON)
    return folder


def recipe_of(corpus, kind, steps=150, more=None, **tokens) -> Recipe:
    """Make a recipe that learns the words in seconds; `more` are other parts of it."""
    wanted = KINDS.get(kind, {"kind": kind}) | tokens
    if "lexicon" in wanted:
        wanted["lexicon"] = str(corpus / wanted["lexicon"])
    manifest = str(corpus / "train.jsonl")
    values = {
        "name": kind,
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "sine tones",
        "tokens": wanted,
        "network": {"hidden_size": 48, "num_layers": 1, "dropout": 0},
        "data": {"train": [{"manifest": manifest, "easy": True}], "valid": [manifest], "min_rows_per_token": 0.5},
        "joining": {"row_seconds": 1.2},
        "train": {"steps": steps, "easy_steps": steps, "warmup_steps": 20, "valid_every": steps, "batch_size": 8, "lr": 1e-2},
    }
    return parse_recipe(values | (more or {}), "test")


@dataclass(frozen=True)
class Trained:
    """A run that learnt the words, and what was exported of it."""

    kind: str
    run: Path
    model: Path
    valid: ValidReport
    recognizer: Recognizer

    @property
    def of_phones(self) -> bool:
        return self.kind.startswith("phones")


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory, request):
    """Train and export one kind."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    reports = []
    train(recipe_of(corpus, kind), folder / "run", resume=False, report=reports.append, workers=0)
    (valid,) = [report for report in reports if isinstance(report, ValidReport)]
    export(load_trained(folder / "run"), folder / "model", scores={})
    recognizer = edgeseq.load(folder / "model", bits=8)
    return Trained(kind, folder / "run", folder / "model", valid, recognizer)


every_kind = pytest.mark.parametrize("trained", KINDS, indirect=True)
only = {kind: pytest.mark.parametrize("trained", [kind], indirect=True) for kind in KINDS}


def hear(recognizer, text, n_samples=777):
    """Hear a text in pieces; give partials and finals."""
    samples, state = say(text), recognizer.init_state()
    events = []
    for start in range(0, len(samples), n_samples):
        new, state = recognizer.step(samples[start : start + n_samples], state)
        events += new
    last, _ = recognizer.flush(state)
    return [event for event in (*events, *last) if isinstance(event, Partial | Final)]


def text_of(events):
    return " ".join(event.text for event in events if isinstance(event, Final))


@every_kind
def test_words_that_were_trained_are_heard(trained):
    assert set(trained.valid.values[WER].values()) == {0.0}
    assert (trained.valid.metric, list(trained.valid.values[PER].values())) == (
        (PER, [0.0]) if trained.of_phones else (WER, [])
    )
    for text in ("toast", "so as oats", "sat sat tot toast as"):
        assert text_of(hear(trained.recognizer, text)) == text


@every_kind
def test_word_times_lie_in_the_words(trained):
    (final,) = [event for event in hear(trained.recognizer, "toast so") if isinstance(event, Final)]
    first, second = final.words
    assert 0.2 < first.start < first.end < 1.1 and 1.0 < second.start < second.end < 1.5


@every_kind
def test_partials_hold_words_only(trained):
    shown = {word.word for event in hear(trained.recognizer, "oats as") if isinstance(event, Partial) for word in event.words}
    beginnings = {word[:n] for word in ("oats", "as") for n in range(1, len(word) + 1)}
    assert shown <= ({"oats", "as"} if trained.of_phones else beginnings)
    assert {"oats", "as"} <= shown


@every_kind
def test_the_file_tells_its_kind_and_works(trained):
    metadata = read_metadata(trained.model / "model.onnx")
    kind = "phones" if trained.of_phones else trained.kind
    assert (metadata.token_table.kind, metadata.format) == (kind, FORMATS[kind])
    assert metadata.token_table.word_start == (trained.kind != "phones-alone")
    assert metadata.token_table == load_trained(trained.run).tokens == load_trained(trained.model).tokens
    assert [what for what, _ in verify(trained.model / "model.int8.onnx")][-1] == "chunks equal the whole"


@every_kind
def test_phrases_are_found(trained):
    """Phones find a word that sounds as another was trained; so few words teach characters some new one, too."""
    said, new = {"characters": ("tat", "tat"), "subwords": ("tot", "tot")}.get(trained.kind, ("tot", "tote"))
    text = f"intents: {{order: ['[sat] {{what}}']}}\nslots: {{what: [toast, oats, {new}]}}\n"
    metadata = trained.recognizer.metadata
    graph = compile_phrases(parse_phrases(text), metadata.token_table)
    recognizer = trained.recognizer.with_decoder(PhraseDecoder(PhraseGraph.from_bytes(graph.to_bytes()), metadata))
    for spoken, word in (("toast", "toast"), (said, new)):
        events = hear(recognizer, f"sat {spoken}")
        finals = [(event.text, dict(event.slots)) for event in events if isinstance(event, Final)]
        assert finals == [(f"sat {word}", {"what": word})]
        partials = {event.text for event in events if isinstance(event, Partial)}
        assert not trained.of_phones or partials <= {"sat", f"sat {word}"}


@every_kind
def test_a_lexicon_allows_its_words_alone(trained, tmp_path):
    (tmp_path / "words.txt").write_text("toast\nas\n")
    beam = load_beam(trained.recognizer.metadata, lexicon=tmp_path / "words.txt")
    assert text_of(hear(trained.recognizer.with_decoder(beam), "toast as")) == "toast as"
    assert "tot" not in text_of(hear(trained.recognizer.with_decoder(beam), "tot as"))


@every_kind
def test_hotwords_change_what_is_heard_of_a_mixture(trained):
    """Two words at a time: a boost decides."""
    mixture = (0.63 * say("tot") + 0.37 * say("sat")).astype(np.float32)
    for word in ("tot", "sat"):
        beam = load_beam(trained.recognizer.metadata, hotwords=[Hotword(word, 5.0 if trained.kind == "phones-alone" else 3.0)])
        assert set(trained.recognizer.with_decoder(beam).transcribe(mixture).text.split()) == {word}


@every_kind
def test_files_are_proven_by_words_and_by_phones_where_they_are_tokens(trained):
    proof = read_metadata(trained.model / "model.int8.onnx").proof
    assert proof["words"] == 24 and set(proof["errors"].values()) == {0}
    assert ("phone_figures" in proof) == trained.of_phones
    if trained.of_phones:
        phones = proof["phone_figures"]
        assert phones["phones"] == 4 * sum(map(len, WORDS)) and set(phones["errors"].values()) == {0}
        assert list(phones["per"]) == list(proof["wer"]) == ["torch_whole", "torch_streamed", "float32", "int8"]


@only["phones"]
def test_of_words_that_sound_alike_the_language_model_decides(trained, tmp_path):
    assert text_of(hear(trained.recognizer, "tot as")) == "tot as"  # the first of the lexicon
    write_compiled(estimate([["as", "tote"]] * 5 + [["so", "tot"]] * 5, 2).ngrams, tmp_path / "words.lm")
    beam = load_beam(trained.recognizer.metadata, lm=tmp_path / "words.lm")
    recognizer = trained.recognizer.with_decoder(beam)
    assert text_of(hear(recognizer, "as tot")) == "as tote" and text_of(hear(recognizer, "so tot")) == "so tot"


@only["phones"]
def test_phones_take_a_lexicon_with_new_words(trained, tmp_path):
    (tmp_path / "words.txt").write_text("stoa SS TT OO AA\nas\n")
    recognizer = trained.recognizer.with_decoder(load_beam(trained.recognizer.metadata, lexicon=tmp_path / "words.txt"))
    assert text_of(hear(recognizer, "stoa as")) == "stoa as"
    (tmp_path / "words.txt").write_text("stoa SS TT OU AA\nnew\n")
    with pytest.raises(WordListError, match=r"2 faults(?s:.)*:1: 'stoa' needs 'OU'(?s:.)*:2: 'new' needs phones"):
        load_beam(trained.recognizer.metadata, lexicon=tmp_path / "words.txt")


@only["phones"]
def test_greedy_decoding_of_phones_names_words_that_sound_so(trained):
    recognizer = trained.recognizer.with_decoder(GreedyDecoder(trained.recognizer.metadata))
    assert text_of(hear(recognizer, "toast as")) == "toast as"
    assert text_of(hear(recognizer, "sos")) == "SS-OO-SS"


@only["phones-alone"]
def test_greedy_decoding_of_phones_without_separators_tells_phones(trained):
    recognizer = trained.recognizer.with_decoder(GreedyDecoder(trained.recognizer.metadata))
    events = hear(recognizer, "sat as")
    assert text_of(events) == "SS AA TT AA SS"
    assert all("SS AA TT AA SS".startswith(event.text) for event in events)


@only["phones-alone"]
def test_phrases_without_separators_are_found_rejected_cut_and_kept(trained):
    graph = compile_phrases(parse_phrases("intents: {x: [toast tot, sat as]}"), trained.recognizer.metadata.token_table)
    recognizer = trained.recognizer.with_decoder(PhraseDecoder(graph, trained.recognizer.metadata))
    for n_samples in (100, 777, 10**6):
        # "toast tot" is found however closely the words follow each other; "oats" is none
        assert text_of(hear(recognizer, "toast tot", n_samples)) == "toast tot"
        assert text_of(hear(recognizer, "toasttot", n_samples)) == "toast tot"
        assert text_of(hear(recognizer, "oats", n_samples)) == ""
    samples = say("sat as")
    _, state = recognizer.step(samples[:4000], recognizer.init_state())
    events, state = recognizer.step(samples[4000:], recognizer.restore(recognizer.save(state)))
    assert text_of([*events, *recognizer.flush(state)[0]]) == "sat as"


@only["phones"]
def test_a_language_model_of_letters_does_not_fit_phones(trained, tmp_path):
    write_compiled(estimate([["▁", "a", "s"]] * 3, 2).ngrams, tmp_path / "letters.lm")
    with pytest.raises(UsageError, match="wanted a language model of words"):
        load_beam(trained.recognizer.metadata, lm=tmp_path / "letters.lm")


@only["subwords"]
def test_resuming_with_other_tokens_is_refused_and_shows_the_difference(trained, corpus):
    saved = load_checkpoint(latest_checkpoint(trained.run / "checkpoints"))
    assert saved.details["token_details"]["kind"] == "subwords"
    with pytest.raises(UsageError, match=r"tokens\.size: was 9, now 7(?s:.)*tokens: \d gone: "):
        train(recipe_of(corpus, "subwords", size=7), trained.run, resume=True, report=lambda _: None, workers=0)
    with pytest.raises(UsageError, match=r"tokens\.kind: was 'subwords'(?s:.)*tokens: were subwords, now phones"):
        train(recipe_of(corpus, "phones"), trained.run, resume=True, report=lambda _: None, workers=0)


@every_kind
def test_fine_tuning_keeps_the_tokens_of_the_model_where_they_are_asked_for(trained, corpus, tmp_path):
    """Few words have few letters and pieces; the model goes on with all that it knows, and forgets nothing in two steps."""
    line = {"audio_filepath": str(corpus / "so-1.0.flac"), "duration": 0.64, "text": "so"}
    (tmp_path / "few.jsonl").write_text((json.dumps(line) + "\n") * 3)
    few = {"train": [{"manifest": str(tmp_path / "few.jsonl"), "easy": True}], "valid": [str(corpus / "train.jsonl")]}
    more = {"data": few | {"min_rows_per_token": 0.5}, "finetune": {"weights": str(trained.run)}}
    recipe = recipe_of(corpus, "given", steps=2, more=more, model=str(trained.run))
    reports = []
    tuned = train(recipe, tmp_path / "run", resume=False, report=reports.append, workers=0)
    assert tuned.task.tokens == load_trained(trained.run).tokens
    (valid,) = [report for report in reports if isinstance(report, ValidReport)]
    assert next(iter(valid.values[WER].values())) < 20


def test_tokens_of_a_model_that_is_not_there(corpus, tmp_path):
    with pytest.raises(UsageError, match=r"tokens\.model: there is no runs/none"):
        train(recipe_of(corpus, "given", model="runs/none"), tmp_path, resume=False, report=lambda _: None, workers=0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"kind": "subwords"}, "'size' belongs to the kind 'subwords', which needs it"),
        ({"kind": "phones"}, "'lexicon' belongs to the kind 'phones', which needs it"),
        ({"kind": "characters", "word_start": False}, "'word_start: false' belongs to the kind 'phones'"),
        ({"size": 30}, "'size' belongs to the kind 'subwords'.*, and to no other"),
        ({"kind": "phone"}, "'characters', 'words', 'subwords', 'phones' or 'given'"),
        ({"kind": "given"}, "'model' belongs to the kind 'given', which needs it"),
    ],
)
def test_recipes_with_faults(corpus, tokens, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(recipe_of(corpus, "characters").model_dump() | {"tokens": tokens}, "test")


def test_words_that_the_lexicon_lacks_are_listed_with_their_counts(corpus, tmp_path):
    (tmp_path / "short.txt").write_text("sat SS AA TT\nas AA SS\ntot TT OO TT\n")
    recipe = recipe_of(corpus, "phones", lexicon=str(tmp_path / "short.txt"))
    with pytest.raises(ManifestError, match=r"lacks 3 words(?s:.)*oats  \(4 times\)(?s:.)*toast(?s:.)*edgeseq lexicon make"):
        train(recipe, tmp_path / "run", resume=False, report=lambda _: None, workers=0)


def test_too_few_subwords_are_refused(corpus, tmp_path):
    with pytest.raises(RecipeError, match="Give more than 5"):
        train(recipe_of(corpus, "subwords", size=5), tmp_path, resume=False, report=lambda _: None, workers=0)


@only["phones"]
def test_commands_tell_words_of_phones_without_options(trained, corpus, tmp_path):
    done = command_line.run("transcribe", "--model", trained.model, corpus / "toast-1.0.flac")
    assert (done.returncode, done.stdout) == (0, "toast\n"), done.stderr
    done = command_line.run("listen", "--model", trained.model, "--input", corpus / "sat-1.0.flac")
    assert (done.returncode, done.stdout) == (0, "sat\n"), done.stderr
    line = {"audio_filepath": str(corpus / "as-1.0.flac"), "duration": 0.64, "text": "as ass"}
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n")
    done = command_line.run("eval", "--model", trained.model, "--manifest", tmp_path / "test.jsonl", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["errors"] == 1
    assert "words that the lexicon lacks, and that count as wrong: 1 (ass)" in done.stderr


@only["subwords"]
def test_commands_know_subwords(trained, corpus):
    done = command_line.run("transcribe", "--model", trained.model, "--hotword", "toast", corpus / "toast-1.0.flac")
    assert (done.returncode, done.stdout) == (0, "toast\n"), done.stderr
    done = command_line.run("eval", "--model", trained.model, "--manifest", corpus / "train.jsonl", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["errors"] == 0
    done = command_line.run("models", "info", trained.model)
    assert "subwords" in done.stdout
