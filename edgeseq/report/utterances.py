"""What a network made of recordings whose words are known: by split, by speaker, word by word."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jiwer

from edgeseq.data.clips import Samples, read_clip
from edgeseq.data.manifest import Recording, find_data
from edgeseq.errors import AudioError, ManifestError
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.evaluate import hear
from edgeseq.evaluation.reference_clips import SingleClip
from edgeseq.events import Word
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.report.trace import metadata_of
from edgeseq.stream.recognizer import Recognizer
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.recipe import Recipe
from edgeseq.training.weights import Trained

NO_SPEAKER = "(not named)"


@dataclass(frozen=True)
class Split:
    """A manifest that is heard for a report."""

    name: str
    is_training: bool
    recordings: tuple[Recording, ...]
    n_all: int
    """in the manifest; if more than heard, these are spread evenly over it"""


@dataclass(frozen=True)
class Utterance:
    """One recording, and what a stream through the network understood."""

    split: str
    is_training: bool
    recording: Recording
    heard: ClipResult

    @property
    def speaker(self) -> str:
        """Who speaks."""
        return self.recording.speaker or NO_SPEAKER


@dataclass(frozen=True)
class Rate:
    """Words wrong of some utterances, and those without words in which some were heard."""

    name: str
    clips: int
    words: int
    errors: int
    substituted: int
    deleted: int
    inserted: int
    wordless: int
    """utterances without words"""
    accepted: int
    """of these, those in which words were heard"""

    @property
    def percent(self) -> float | None:
        """Words wrong, in percent; None where no word was said."""
        return 100 * self.errors / self.words if self.words else None

    @classmethod
    def of(cls, name: str, utterances: Sequence[Utterance]) -> Rate:
        """Count the errors of `utterances`."""
        edits = [edit for one in utterances for edit in one.heard.edits]
        deleted = sum(not heard for _, heard in edits)
        inserted = sum(not said for said, _ in edits)
        n_words = sum(one.heard.n_words for one in utterances)
        substituted = len(edits) - deleted - inserted
        wordless = [one.heard for one in utterances if not one.heard.n_words]
        accepted = sum(bool(heard.hypothesis) for heard in wordless)
        return cls(name, len(utterances), n_words, len(edits), substituted, deleted, inserted, len(wordless), accepted)


@dataclass(frozen=True)
class AlignedWord:
    """One place of an alignment: what was said and what was heard there; "" where there is nothing."""

    said: str
    heard: str
    start: float | None = None
    """seconds, of what was heard"""
    end: float | None = None

    @property
    def kind(self) -> str:
        """Name what happened to the word."""
        if not self.said:
            return "inserted"
        if not self.heard:
            return "deleted"
        return "right" if self.said == self.heard else "substituted"


def find_splits(recipe: Recipe, most: int) -> tuple[list[Split], list[str]]:
    """List the validation manifests and the easy training ones, at most that many recordings of each; and what is missing.

    Without validation manifests all training ones are listed.
    """
    names = [(name, False) for name in recipe.data.valid]
    names += [
        (source.manifest, True)
        for source in recipe.data.train
        if (source.easy or not recipe.data.valid) and source.manifest not in recipe.data.valid
    ]
    splits, missing = [], []
    for name, is_training in names:
        try:
            # A corpus may be larger than memory.
            recordings = ManifestIndex.of(find_data(name), allow_empty_text=not is_training)
        except ManifestError as fault:
            missing.append(str(fault).splitlines()[0])
            continue
        stride = -(-len(recordings) // most)
        heard = tuple(recordings[number] for number in range(0, len(recordings), stride))
        splits.append(Split(name, is_training, heard, len(recordings)))
    return splits, missing


def hear_splits(
    trained: Trained, splits: Sequence[Split], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Utterance]:
    """Stream all recordings through the network in torch; those that cannot be read are left out."""
    recognizer = Recognizer(TorchNetwork(trained.model.cpu(), metadata_of(trained)))
    total = sum(len(split.recordings) for split in splits)
    utterances, n_done = [], 0
    for split in splits:
        for recording in split.recordings:
            with contextlib.suppress(AudioError):  # `edgeseq data check` is there to find those
                heard = hear(recognizer, SingleClip(recording))
                utterances.append(Utterance(split.name, split.is_training, recording, heard))
            n_done += 1
            on_progress(n_done, total)
    return utterances


def by_split(utterances: Iterable[Utterance]) -> list[Rate]:
    """Count errors by manifest."""
    return _grouped(utterances, lambda one: one.split)


def by_speaker(utterances: Iterable[Utterance]) -> list[Rate]:
    """Count errors by speaker, the worst first."""
    return sorted(_grouped(utterances, lambda one: one.speaker), key=lambda rate: (-(rate.percent or 0.0), rate.name))


def _grouped(utterances: Iterable[Utterance], key: Callable[[Utterance], str]) -> list[Rate]:
    groups: dict[str, list[Utterance]] = {}
    for one in utterances:
        groups.setdefault(key(one), []).append(one)
    return [Rate.of(name, group) for name, group in groups.items()]


def worst(utterances: Iterable[Utterance], most: int) -> list[Utterance]:
    """List the utterances with the most errors; of equals those with more of their words wrong, then the less sure ones."""

    def badness(one: Utterance) -> tuple[float, float, float]:
        sureness = sum(word.confidence for word in one.heard.words) / max(1, len(one.heard.words))
        return -one.heard.errors, -one.heard.errors / max(1, one.heard.n_words), sureness

    return sorted(utterances, key=badness)[:most]


def confusions(utterances: Iterable[Utterance], most: int) -> list[tuple[str, str, int]]:
    """List the most frequent errors: said, heard, how often; "" where there is nothing."""
    counts = Counter(edit for one in utterances for edit in one.heard.edits)
    return [(said, heard, n) for (said, heard), n in counts.most_common(most)]


def align(reference: str, hypothesis: str, words: Sequence[Word]) -> list[AlignedWord]:
    """Put what was said and what was heard side by side, by the shortest alignment; `words` are those heard, with their times.

    >>> [(one.said, one.heard, one.kind) for one in align("three one", "tree one nine", ())]
    [('three', 'tree', 'substituted'), ('one', 'one', 'right'), ('', 'nine', 'inserted')]
    """
    said, heard = reference.split(), hypothesis.split()
    places = words if len(words) == len(heard) else [None] * len(heard)
    timed = [(text, place) for text, place in zip(heard, places, strict=True)]
    aligned: list[AlignedWord] = []
    for piece in jiwer.process_words(reference, hypothesis).alignments[0]:
        of_said = said[piece.ref_start_idx : piece.ref_end_idx]
        of_heard = timed[piece.hyp_start_idx : piece.hyp_end_idx]
        for number in range(max(len(of_said), len(of_heard))):
            text, place = of_heard[number] if number < len(of_heard) else ("", None)
            start, end = (None, None) if place is None else (place.start, place.end)
            aligned.append(AlignedWord(of_said[number] if number < len(of_said) else "", text, start, end))
    return aligned


def sound_of(utterance: Utterance, sample_rate: int) -> Samples:
    """Read an utterance's sound: float32 `[n_samples]`, mono. Raises AudioError."""
    return read_clip(utterance.recording, sample_rate)
