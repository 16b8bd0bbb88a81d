"""What is measured in training: each clip's own rows, phones by the nearest pronunciation, words by the lexicon."""

import doctest
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import jiwer
import soundfile
import torch

from edgeseq.cli.train_progress import rates_in_words
from edgeseq.errors import RecipeError
from edgeseq.tokens.table import TokenTable
from edgeseq.training import metrics, phone_errors, valid
from edgeseq.training.clips import ClipReader
from edgeseq.training.metric import ACCEPTED, PER, WER
from edgeseq.training.metrics import ValidReport, draw_curves, rate_curves
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.valid import WordValidator, hear_clips, load_validation

RATE = 8000
ROW = 320
LEVEL = 0.01
"""Amplitude by which a row of sound names a token."""
LEXICON = [("tea", ("t", "iː")), ("two", ("t", "uː")), ("the", ("ð", "ə")), ("the", ("ð", "iː")), ("a", ("ə",))]
TOKENS = TokenTable.of_phones(LEXICON)


@pytest.mark.parametrize("module", [metrics, phone_errors])
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


def test_phone_errors_are_those_against_the_nearest_pronunciation():
    random, phones = np.random.default_rng(0), "abcd"
    draw = lambda most: tuple(random.choice(list(phones), random.integers(1, most)))  # noqa: E731
    for _ in range(200):
        words = [[draw(4) for _ in range(random.integers(1, 3))] for _ in range(random.integers(1, 4))]
        heard = list(draw(8))
        references = [list(itertools.chain(*ways)) for ways in itertools.product(*words)]
        every = [(edits(one, heard), len(one)) for one in references]
        assert phone_errors.phone_errors(words, heard) == min(every)
    assert phone_errors.phone_errors([], ["a", "b"]) == (2, 0)
    assert phone_errors.phone_errors([[("a", "b")]], []) == (2, 2)


def edits(reference, heard):
    counts = jiwer.process_words(" ".join(reference), " ".join(heard))
    return counts.substitutions + counts.deletions + counts.insertions


class Speaking:
    """A model that hears, row for row, the token which the amplitude of the sound names, and takes silence for another."""

    def __init__(self, tokens, of_silence):
        self.tokens, self.of_silence = tokens, of_silence
        self.frontend = SimpleNamespace()
        self.head = SimpleNamespace(rows_per_step=1, linear=SimpleNamespace(weight=torch.zeros(1)))

    def init_state(self, batch):
        return None

    def step(self, audio, state):
        ids = (audio[:, ::ROW] / LEVEL).round().long() - 1
        ids[ids < 0] = self.tokens.symbols.index(self.of_silence)
        return torch.log_softmax(10 * torch.nn.functional.one_hot(ids, len(self.tokens)).float(), dim=-1), state


@pytest.fixture
def corpus(tmp_path, tiny_recipe):
    """Write clips of tokens, a row each, and their texts; gives a recipe that measures on them."""

    def write(tokens, patience=None, **manifests):
        for name, clips in manifests.items():
            lines = []
            for number, (symbols, text) in enumerate(clips):
                ids = [tokens.ids[symbol] for symbol in symbols.split()]
                rows = [tokens.blank_id, *itertools.chain(*((i, tokens.blank_id) for i in ids))]
                samples = np.repeat(LEVEL * (1 + np.array(rows)), ROW).astype(np.float32)
                path = tmp_path / f"{name}-{number}.wav"
                soundfile.write(path, samples, RATE, subtype="FLOAT")
                lines.append({"audio_filepath": path.name, "duration": len(samples) / RATE, "text": text})
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        recipe = tiny_recipe().model_dump()
        recipe["data"]["valid"] = [str(tmp_path / f"{name}.jsonl") for name in manifests]
        recipe["joining"]["tail_seconds"] = 0.0
        recipe["train"]["patience"] = patience
        return parse_recipe(recipe, "test")

    return write


def measured(recipe, tokens, of_silence="<blk>"):
    """Measure the model that hears what it is shown; gives the report with short names."""
    validator = WordValidator(recipe, tokens, load_validation(recipe), ClipReader(RATE))
    report = validator.measure(Speaking(tokens, of_silence), 7)
    short = lambda by_name: {name.rpartition("/")[2].removesuffix(".jsonl"): value for name, value in by_name.items()}  # noqa: E731
    line = report.to_line()
    figures = {key: short(line[key]) for key in ("wer", "per", "accepted", "searched")}
    return validator, report, figures


def test_a_short_clip_beside_a_long_one_is_heard_to_its_own_end(corpus):
    """Whatever the model hears in padding is no insertion."""
    letters = TokenTable.of_characters(["on"])
    recipe = corpus(letters, a=[("▁ o n", "on"), (" ".join(["▁ o n"] * 8), " ".join(["on"] * 8))])
    _, report, figures = measured(recipe, letters, of_silence="o")
    assert (report.step, report.metric, report.value) == (7, WER, 0.0)
    assert figures == {"wer": {"a": 0.0}, "per": {}, "accepted": {}, "searched": {}}


def test_rows_of_a_batch_are_those_of_each_clip_alone(corpus, tiny_recipe):
    letters = TokenTable.of_characters(["on"])
    recipe = corpus(letters, a=[("▁ o", "o"), (" ".join(["▁ o n"] * 5), "on"), ("▁ n o n", "non")])
    torch.manual_seed(0)
    model = build_model(recipe.input, recipe.network, 4).eval()
    (recordings,) = load_validation(recipe).values()
    together = dict(hear_clips(model, recordings, ClipReader(RATE), ROW, RATE // 10))
    for number, recording in enumerate(recordings):
        ((_, alone),) = hear_clips(model, [recording], ClipReader(RATE), ROW, RATE // 10)
        assert len(alone) == len(together[number]) == -(-(round(recording.duration * RATE) + 800) // ROW)
        np.testing.assert_allclose(together[number], alone, atol=1e-5)


def test_phones_and_words_of_a_phone_model(corpus):
    """PER by the nearest pronunciation; WER by the lexicon; recordings that it cannot spell count as words alone."""
    clips = [
        ("▁ t iː", "tea"),
        ("▁ ð iː ▁ t uː", "the two"),  # another pronunciation than the first
        ("▁ t t", "two"),  # a phone wrong, and the nearest word may be right
        ("▁ ə", "zebra"),
    ]
    validator, report, figures = measured(corpus(TOKENS, a=clips), TOKENS)
    assert report.metric == PER and report.value == figures["per"]["a"] == pytest.approx(100 * 1 / 8)
    assert figures["wer"]["a"] in (pytest.approx(100 / 5), pytest.approx(200 / 5))
    assert validator.describe(next(iter(report.values[PER]))) == (
        "4 recordings to measure on, 1 with words that the lexicon lacks, which do not count for phones"
    )


def test_recordings_without_words_are_measured_apart(corpus):
    letters = TokenTable.of_characters(["on"])
    recipe = corpus(letters, words=[("▁ o n", "on"), ("▁ n", "on")], none=[("▁ o n ▁ n", ""), ("", ""), ("", ""), ("", "")])
    _, report, figures = measured(recipe, letters)
    assert figures == {"wer": {"words": 50.0}, "per": {}, "accepted": {"none": 25.0}, "searched": {}}
    assert report.value == 50.0, "what has no words takes no part in it"


def test_patience_needs_words(corpus):
    letters = TokenTable.of_characters(["on"])
    with pytest.raises(RecipeError, match=r"hold no words by which to tell(.|\n)*Name one with words"):
        load_validation(corpus(letters, patience=2, none=[("", "")]))


def test_words_are_searched_in_a_drawn_part_of_much_sound(corpus, monkeypatch):
    monkeypatch.setattr(valid, "SEARCHED_SECONDS", 0.6)
    recipe = corpus(TOKENS, a=[("▁ t iː", "tea")] * 9)
    validator, report, figures = measured(recipe, TOKENS)
    assert figures["searched"] == {"a": 2} and figures["wer"] == figures["per"] == {"a": 0.0}
    assert "words are searched in 2 of them" in validator.describe(next(iter(report.values[PER])))


def test_curves_name_what_they_show(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 1, "wer": {"dev": 40.0}, "per": {"dev": 20.0}, "accepted": {"none": 5.0}}]
    old = {"step": 2, "wer": {"dev": 30.0}}
    curves = rate_curves([*lines, old])
    assert curves["words wrong, dev"] == [(1, 40.0), (2, 30.0)] and curves["phones wrong, dev"] == [(1, 20.0)]
    assert list(curves) == ["phones wrong, dev", "words wrong, dev", "accepted without words, none"]
    draw_curves([*lines, old], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_says_every_rate():
    report = ValidReport(3, PER, {PER: {"dev": 20.0}, WER: {"dev": 41.04}, ACCEPTED: {"none": 5.0}}, {"dev": 300})
    said = rates_in_words(report)
    assert said == "phones wrong: dev 20.0 %; words wrong: dev 41.0 % (300 recordings); accepted without words: none 5.0 %"
