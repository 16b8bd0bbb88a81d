"""Error rates of a model in training, on recordings that it does not train on: phones, words, words where there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.data.manifest import Recording, find_data, read_manifest
from edgeseq.decoding.dictation import DictationDecoder, DictationOptions
from edgeseq.decoding.fusion import Weights
from edgeseq.decoding.lexicon_tree import LexiconTree, phone_entries
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.errors import RecipeError
from edgeseq.evaluation.evaluate import word_edits
from edgeseq.tokens.pronunciations import Phones
from edgeseq.tokens.table import TokenTable
from edgeseq.training.clips import ClipReader
from edgeseq.training.metric import ACCEPTED, PER, WER, Metric
from edgeseq.training.metrics import ValidReport
from edgeseq.training.phone_errors import phone_errors, phones_of, pronunciations_of_text
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.sources import refuse_other_input
from edgeseq.training.tasks.task import Reader

BATCH_SIZE = 50

SEARCH = DictationOptions(beam=20, token_threshold=1e-2)
"""Words of phones are searched so; narrow, for training waits."""
SEARCHED_SECONDS = 600.0
"""In longer manifests the words of a drawn part are searched."""
DRAW_SEED = 0


def load_validation(recipe: Recipe) -> dict[str, list[Recording]]:
    """Read the manifests that are measured on the way; an empty text says that there are no words.

    Raises ManifestError when one is missing or broken, RecipeError when none has words to stop by.
    """
    valid = {name: read_manifest(find_data(name), allow_empty_text=True) for name in recipe.data.valid}
    everything = [recording for recordings in valid.values() for recording in recordings]
    for recording in everything:
        refuse_other_input(recording, recipe)
    can_tell = any(one.text.strip() or one.segments is not None or one.units is not None for one in everything)
    if recipe.train.patience is not None and not can_tell:
        raise RecipeError(
            "train.patience: the manifests of data.valid hold no words by which to tell whether anything gets better.\n"
            "  Name one with words, or leave train.patience out."
        )
    return valid


def collapse(log_probs: NDArray[np.float32], blank_id: int) -> list[int]:
    """Best path of `[n_rows, n_tokens]`: repeats merged, blanks dropped (the map B of Graves et al. 2006)."""
    best = log_probs.argmax(axis=1)
    begins = np.diff(best, prepend=-1) != 0
    return [int(token) for token in best[begins] if token != blank_id]


@torch.inference_mode()
def hear_clips(
    model: SequenceModel, recordings: Sequence[Recording], reader: Reader, row_units: int, tail: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Hear each recording from a zero state, with `tail` units of silence after it, those of like length together.

    Yields the number of a recording and its log-probs `[n_rows, n_tokens]`: as many rows as its own length has, whatever
    it was padded to.
    """
    device, step_units = model.head.linear.weight.device, row_units * model.head.rows_per_step
    order = sorted(range(len(recordings)), key=lambda number: recordings[number].duration)
    for first in range(0, len(order), BATCH_SIZE):
        numbers = order[first : first + BATCH_SIZE]
        clips = [torch.from_numpy(reader.read(recordings[number])) for number in numbers]
        n_units = -(-(max(map(len, clips)) + tail) // step_units) * step_units
        units = clips[0].new_zeros(len(clips), n_units, *clips[0].shape[1:])
        for row, clip in zip(units, clips, strict=True):
            row[: len(clip)] = clip
        rows: Tensor = model.step(units.to(device), model.init_state(len(clips)))[0]
        log_probs = rows.float().cpu().numpy()
        for number, clip, of_clip in zip(numbers, clips, log_probs, strict=True):
            yield number, of_clip[: -(-(len(clip) + tail) // row_units)]


@dataclass(frozen=True)
class ValidClip:
    """A recording to measure on."""

    recording: Recording
    words: str
    """normalized; empty where nothing is said"""
    pronounced: list[tuple[Phones, ...]] | None
    """each word's pronunciations; None where the lexicon lacks one, or tokens are not phones"""
    is_searched: bool
    """its words are reported, too"""


class WordValidator:
    """Measures a model of words by a recipe's validation manifests."""

    def __init__(
        self, recipe: Recipe, tokens: TokenTable, valid: Mapping[str, Sequence[Recording]], reader: ClipReader
    ) -> None:
        """Measure on `valid`, recordings by manifest; of phones, draw those whose words are searched."""
        self.recipe, self.tokens, self.reader = recipe, tokens, reader
        self._is_phones = tokens.kind == "phones"
        self._clips = {name: self._clips_of(recordings) for name, recordings in valid.items()}
        has_phones = any(clip.words and clip.pronounced for clips in self._clips.values() for clip in clips)
        self.metric: Metric = PER if has_phones else WER
        """what picks the best weights: phones are surer than words, which hang on the lexicon"""

    def measure(self, model: SequenceModel, step: int) -> ValidReport:
        """Measure all manifests with a model after that many steps."""
        report = ValidReport(step, self.metric, {PER: {}, WER: {}, ACCEPTED: {}})
        row_units, tail = self.recipe.row_units, self.recipe.tail_units
        for name, clips in self._clips.items():
            tally = np.zeros((3, 2), dtype=np.int64)
            recordings = [clip.recording for clip in clips]
            for number, log_probs in hear_clips(model, recordings, self.reader, row_units, tail):
                tally += self._count(clips[number], log_probs)
            for rates, (errors, total) in zip(report.values.values(), tally.tolist(), strict=True):
                if total:
                    rates[name] = 100 * errors / total
            n_searched = sum(clip.is_searched for clip in clips)
            if n_searched < len(clips):
                report.searched[name] = n_searched
        return report

    def describe(self, name: str) -> str:
        """Say what there is to measure on in a manifest."""
        clips = self._clips[name]
        wordless = sum(not clip.words for clip in clips)
        parts = [f"{len(clips):,} recordings to measure on"] + [f"{wordless:,} of them without words"] * (wordless > 0)
        if self._is_phones:
            unknown = sum(clip.pronounced is None for clip in clips)
            parts += [f"{unknown:,} with words that the lexicon lacks, which do not count for phones"] * (unknown > 0)
            n_searched = sum(clip.is_searched for clip in clips)
            parts += [f"words are searched in {n_searched:,} of them"] * (n_searched < len(clips))
        return ", ".join(parts)

    def _count(self, clip: ValidClip, log_probs: NDArray[np.float32]) -> list[tuple[int, int]]:
        """Count phones wrong and said, words wrong and said, recordings without words in which some are heard, and all."""
        ids = collapse(log_probs, self.tokens.blank_id)
        phones = (0, 0)
        if clip.pronounced is not None:
            phones = phone_errors(clip.pronounced, phones_of(ids, self.tokens))
        if not clip.is_searched:
            return [phones, (0, 0), (0, 0)]
        heard = self._search(log_probs) if self._is_phones else self.tokens.decode(ids)
        words = len(word_edits(clip.words, heard)), len(clip.words.split())
        return [phones, words, (0, 0) if clip.words else (int(bool(heard)), 1)]

    def _search(self, log_probs: NDArray[np.float32]) -> str:
        final = self._decoder.final(self._decoder.step(log_probs, self._decoder.init_state()))
        return "" if final is None else final.text

    @cached_property
    def _decoder(self) -> DictationDecoder:
        step_seconds = self.recipe.row_seconds
        ends = WordEnds(LexiconTree(phone_entries(self.tokens)), None, Weights(), self.tokens.word_start_id)
        return DictationDecoder(self.tokens, step_seconds, ends, SEARCH)

    def _clips_of(self, recordings: Sequence[Recording]) -> list[ValidClip]:
        searched = _draw_searched(recordings) if self._is_phones else frozenset(range(len(recordings)))
        return [
            ValidClip(
                recording,
                self.tokens.normalize(recording.text),
                pronunciations_of_text(recording.text, self.tokens) if self._is_phones else None,
                number in searched,
            )
            for number, recording in enumerate(recordings)
        ]


def _draw_searched(recordings: Sequence[Recording]) -> frozenset[int]:
    """Draw the recordings whose words are searched, always the same."""
    order = np.random.default_rng(DRAW_SEED).permutation(len(recordings)).tolist()
    seconds = np.cumsum([recordings[number].duration for number in order])
    return frozenset(order[: max(1, int(np.searchsorted(seconds, SEARCHED_SECONDS, side="right")))])
