"""Clips joined to rows, rows to batches: what a microphone hears, cut into equal pieces.

A batch is a pure function of (seed, step), so training resumes exactly and workers cannot change it. Row `b` of one batch
goes on in row `b` of the next, unless the next says `restart`: the hidden state is carried from one to the other.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from edgeseq.errors import ManifestError, RecipeError
from edgeseq.manifest import Recording
from edgeseq.recipe import Recipe, SourceRecipe
from edgeseq.tokens import TokenTable
from edgeseq.training.augment import Waveform, augment_row, change_speed, db_to_gain, rms

CACHE_SAMPLES = 500_000_000
"""Decoded clips are kept in memory, as 16 bit, up to this many samples (17 hours at 8 kHz); later ones are read anew."""

CLIP_LEVEL_DB = -25.0
"""RMS to which clips are brought, against full scale, before the recipe's levels; corpora differ by 25 dB."""

NO_GAP = 0.1
"""Share of gaps that are none: a clip cut closely at the start of a stream, words without a pause."""

FILLED = (0.4, 1.0)
"""Rows of a batch are filled to a length drawn from this range, times the recipe's `row_seconds`."""

EASY_GAP_SECONDS = (0.05, 0.25)
"""Before the only clip of an easy row."""


@dataclass(frozen=True)
class Source:
    """Recordings of one manifest, and how often they are drawn."""

    recordings: tuple[Recording, ...]
    targets: tuple[tuple[int, ...], ...]
    """token ids of each recording's text"""
    weight: float
    easy: bool


@dataclass(frozen=True)
class Batch:
    """What one training step takes."""

    audio: Tensor
    """float32 `[batch, n_samples]`, a whole number of steps"""
    targets: Tensor
    """token ids of all rows, one after the other, int64 `[sum(target_lengths)]`"""
    target_lengths: Tensor
    """int64 `[batch]`; 0 is a row without a word"""
    restart: Tensor
    """bool `[batch]`: the row begins a new stream"""


def pick_source(recipe: SourceRecipe, recordings: Sequence[Recording], tokens: TokenTable, seconds_per_token: float) -> Source:
    """Leave out the speakers that the recipe excludes, and clips said faster than `seconds_per_token`."""
    wanted = [r for r in recordings if not any(fnmatch.fnmatch(r.speaker or "", p) for p in recipe.exclude)]
    if not wanted:
        raise RecipeError(f"{recipe.manifest}: 'exclude' leaves no recording. Correct its patterns: {list(recipe.exclude)}.")
    spelled = zip(wanted, spell(wanted, tokens), strict=True)
    kept = [(r, targets) for r, targets in spelled if r.duration >= seconds_per_token * tokens_to_emit(targets)]
    if not kept:
        raise RecipeError(
            f"{recipe.manifest}: every clip is said faster than {seconds_per_token:.3f} s a token.\n"
            "  Lower data.min_rows_per_token, or network.subsampling."
        )
    return Source(tuple(r for r, _ in kept), tuple(t for _, t in kept), recipe.weight, recipe.easy)


def tokens_to_emit(targets: Sequence[int]) -> int:
    """Count the rows that CTC needs at least: a token each, and a blank between equal neighbours."""
    return len(targets) + sum(one == other for one, other in itertools.pairwise(targets))


def difficulty(step: int, easy_steps: int, ramp_steps: int) -> float:
    """How hard the rows of `step` are: 0 single clean clips, 1 everything the recipe says."""
    return float(np.clip((step - easy_steps) / max(ramp_steps, 1), 0.0, 1.0))


class ClipReader:
    """Reads recordings at one rate, keeping the decoded samples."""

    def __init__(self, sample_rate: int) -> None:
        """Read at `sample_rate` in Hz."""
        self.sample_rate = sample_rate
        self._cache: dict[tuple[Path, float], NDArray[np.int16]] = {}
        self._cached_samples = 0

    def read(self, recording: Recording) -> Waveform:
        """Decode, or take from memory; float32 `[n_samples]`."""
        key = (recording.path, recording.offset)
        kept = self._cache.get(key)
        if kept is None:
            samples = read_clip(recording, self.sample_rate)
            kept = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
            if self._cached_samples + len(kept) <= CACHE_SAMPLES:
                self._cache[key] = kept
                self._cached_samples += len(kept)
        return kept.astype(np.float32) / np.float32(32767)


def read_clip(recording: Recording, sample_rate: int) -> Waveform:
    """Decode a recording's stretch of its file, mono, at `sample_rate`; float32 `[n_samples]`."""
    try:
        with soundfile.SoundFile(recording.path) as file:
            file.seek(round(recording.offset * file.samplerate))
            samples = file.read(round(recording.duration * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except (OSError, soundfile.SoundFileError) as fault:
        raise ManifestError(
            f"{recording.path}: cannot be read as sound ({fault}).\n  Take its line out of the manifest or replace the file."
        ) from fault
    return np.asarray(soxr.resample(samples, rate, sample_rate), dtype=np.float32)


@dataclass(frozen=True)
class Row:
    """One row before it is brought to the batch's length."""

    pieces: tuple[Waveform, ...]
    """gap, clip, gap, clip, ..."""
    targets: tuple[int, ...]

    @property
    def n_samples(self) -> int:
        """Length of the pieces together."""
        return sum(map(len, self.pieces))


class JoinedBatches(Dataset[Batch]):
    """`batches[step]` is the batch of that training step."""

    def __init__(self, sources: Sequence[Source], recipe: Recipe) -> None:
        """Draw from `sources` as `recipe` says."""
        self.sources, self.recipe = tuple(sources), recipe
        self.reader = ClipReader(recipe.frontend.sample_rate)

    def __len__(self) -> int:
        """Count the steps of the recipe."""
        return self.recipe.train.steps

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of `step`."""
        train, joining = self.recipe.train, self.recipe.joining
        rng = np.random.default_rng([train.seed, step])
        hardness = difficulty(step, train.easy_steps, train.ramp_steps)
        rows = [self._begin_row(rng, hardness) for _ in range(train.batch_size)]
        if hardness > 0:
            filled = int(joining.row_seconds * rng.uniform(*FILLED) * max(hardness, FILLED[0]) * self.reader.sample_rate)
            longest = max(filled, *(row.n_samples for row in rows))
            rows = [self._fill_row(row, longest, rng, hardness) for row in rows]
        restart = rng.random(train.batch_size) < (joining.restart if hardness > 0 else 1.0)
        n_samples = self._row_samples(max(row.n_samples for row in rows))
        audio = np.stack([self._finish_row(row, n_samples, rng, hardness) for row in rows])
        return Batch(
            torch.from_numpy(audio),
            torch.tensor([token for row in rows for token in row.targets], dtype=torch.int64),
            torch.tensor([len(row.targets) for row in rows], dtype=torch.int64),
            torch.from_numpy(restart),
        )

    def _row_samples(self, longest: int) -> int:
        """Length of a batch's rows: the longest and its tail, in whole steps."""
        step_samples = self.recipe.step_samples
        tail = int(self.recipe.joining.tail_seconds * self.recipe.frontend.sample_rate)
        return -(-(longest + tail) // step_samples) * step_samples

    def _begin_row(self, rng: np.random.Generator, hardness: float) -> Row:
        """Draw the first clip of a row, or none for a row of silence."""
        if rng.random() < self.recipe.joining.silence * hardness:
            return Row((), ())
        clip, targets = self._draw_clip(rng, hardness)
        gap = self._draw_gap(rng) if hardness > 0 else rng.uniform(*EASY_GAP_SECONDS)
        return Row((self._silence(gap), clip), targets)

    def _fill_row(self, row: Row, longest: int, rng: np.random.Generator, hardness: float) -> Row:
        """Append gaps and clips as long as they fit; a row of silence stays one."""
        while row.targets:
            clip, targets = self._draw_clip(rng, hardness)
            more = Row((*row.pieces, self._silence(self._draw_gap(rng)), clip), row.targets + targets)
            if more.n_samples > longest:
                break
            row = more
        return row

    def _draw_gap(self, rng: np.random.Generator) -> float:
        joining = self.recipe.joining
        if rng.random() < NO_GAP:
            return 0.0
        if rng.random() < joining.long_gap:
            return float(rng.uniform(joining.gap_seconds[1], joining.row_seconds / 2))
        return float(rng.uniform(*joining.gap_seconds))

    def _draw_clip(self, rng: np.random.Generator, hardness: float) -> tuple[Waveform, tuple[int, ...]]:
        """Draw a source by weight (those not easy come in with hardness), then a clip of it, changed in speed and level."""
        weights = np.array([s.weight * (1.0 if s.easy else hardness) for s in self.sources])
        source = self.sources[int(rng.choice(len(weights), p=weights / weights.sum()))]
        index = int(rng.integers(len(source.recordings)))
        clip = self.reader.read(source.recordings[index])
        if hardness > 0:
            augment = self.recipe.augment
            clip = change_speed(clip, ease(rng.uniform(*augment.speed), hardness), self.reader.sample_rate)
            level_db = CLIP_LEVEL_DB - 20 * np.log10(rms(clip)) + rng.uniform(*augment.clip_level_db)
            clip = clip * np.float32(db_to_gain(level_db * hardness))
        return clip, source.targets[index]

    def _finish_row(self, row: Row, n_samples: int, rng: np.random.Generator, hardness: float) -> Waveform:
        joined = np.concatenate([*row.pieces, np.zeros(n_samples - row.n_samples, dtype=np.float32)])
        if rng.random() >= hardness:
            return joined
        return augment_row(joined, self.recipe.augment, self.reader.sample_rate, rng)

    def _silence(self, seconds: float) -> Waveform:
        return np.zeros(int(seconds * self.reader.sample_rate), dtype=np.float32)


def ease(factor: float, hardness: float) -> float:
    """Bring a factor towards 1 while the rows are still easy."""
    return 1 + (factor - 1) * hardness


def spell(recordings: Sequence[Recording], tokens: TokenTable) -> list[tuple[int, ...]]:
    """Encode all texts; raises ManifestError that lists every text with a character outside the tokens."""
    spelled, faults = [], []
    for recording in recordings:
        try:
            spelled.append(tuple(tokens.encode(recording.text)))
        except ManifestError as fault:
            faults.append(f"{recording.path}: {fault}")
    if faults:
        raise ManifestError("\n".join(faults[:20]) + (f"\n... and {len(faults) - 20} more" if len(faults) > 20 else ""))
    return spelled
