"""Single words out of transcribed sentences; pocketsphinx finds where each lies, by forced alignment.

It gives what collected single words do not: many people, saying a word in passing. pocketsphinx is an
optional package; it brings its own English acoustic model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.data.clips import Samples, read_clip, write_clip
from edgeseq.data.manifest import Recording, write_manifest
from edgeseq.errors import EdgeseqError, MissingExtraError, UsageError
from edgeseq.tokens.table import normalize_text

MANIFEST = "manifest.jsonl"
SAMPLE_RATE = 16_000
"""Hz; of the aligner's acoustic model and of the clips."""

MARGIN_SECONDS = 0.06
"""Kept on either side of a word, since boundaries in running speech are not sharper than that."""

Progress = Callable[[int, int], None]
"""Called with the number of sentences done and to do."""

LETTERS = "a:AE b:B c:K d:D e:EH f:F g:G h:HH i:IH j:JH k:K l:L m:M n:N o:AA p:P q:K r:R s:S t:T u:AH v:V w:W x:K y:Y z:Z"
LETTER_PHONES = dict(pair.split(":") for pair in LETTERS.split())
"""How a word that the dictionary lacks is sounded: roughly, but enough to find its neighbours."""


@dataclass(frozen=True)
class Span:
    """Where a word was said."""

    word: str
    start: float
    """seconds"""
    end: float
    """seconds"""


@dataclass(frozen=True)
class CutReport:
    """What cutting gave."""

    clips: tuple[Recording, ...]
    n_sentences: int
    """that hold a wanted word"""
    failed: tuple[str, ...]
    """sentences that could not be read or aligned, and why"""
    manifest: Path


class Aligner:
    """Finds the words of a known text in its recording."""

    def __init__(self) -> None:
        """Load pocketsphinx and its English model; raises MissingExtraError where it is not installed."""
        try:
            pocketsphinx = import_module("pocketsphinx")
        except ModuleNotFoundError:
            raise MissingExtraError(
                "Cutting words out of sentences needs pocketsphinx, which is not installed.\n  pip install pocketsphinx"
            ) from None
        self._decoder: Any = pocketsphinx.Decoder(samprate=SAMPLE_RATE, lm=None, loglevel="FATAL")
        self._frames_per_second = float(self._decoder.config["frate"])

    def align(self, samples: Samples, text: str) -> list[Span]:
        """Find each word of `text` in `samples` (float32 [n_samples], 16 kHz), in order.

        Raises EdgeseqError when the text does not fit the sound.
        """
        words = normalize_text(text).split()
        self._learn(words)
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
        try:
            self._decoder.set_align_text(" ".join(words))
            self._decoder.start_utt()
            self._decoder.process_raw(pcm, full_utt=True)
            self._decoder.end_utt()
        except RuntimeError as fault:
            raise EdgeseqError(f"could not be aligned ({fault})") from None
        segments = [(s.word.partition("(")[0], s.start_frame, s.end_frame) for s in self._decoder.seg() or ()]
        rate = self._frames_per_second
        spans = [Span(word, a / rate, (b + 1) / rate) for word, a, b in segments if word in set(words)]
        if [span.word for span in spans] != words:
            raise EdgeseqError("could not be aligned (the text does not fit the sound)")
        return spans

    def _learn(self, words: Sequence[str]) -> None:
        for word in words:
            if self._decoder.lookup_word(word) is None:
                phones = " ".join(LETTER_PHONES[letter] for letter in word if letter in LETTER_PHONES)
                self._decoder.add_word(word, phones or "AH", True)


def cut_words(
    recordings: Sequence[Recording],
    words: Collection[str],
    out: Path,
    *,
    on_progress: Progress = lambda done, total: None,
) -> CutReport:
    """Cut every one of `words` out of the recordings that hold it, into clips and a manifest under `out`.

    A sentence that cannot be read or aligned is left out and reported. Raises UsageError when no sentence
    holds any of the words, EdgeseqError when none could be cut.
    """
    wanted = {normalize_text(word) for word in words}
    sentences = [r for r in recordings if wanted & set(normalize_text(r.text).split())]
    if not sentences:
        raise UsageError(
            f"None of {len(recordings)} texts holds any of: {', '.join(sorted(wanted))}. "
            "Words are compared whole and in lower case."
        )
    aligner = Aligner()
    clips: list[Recording] = []
    failed: list[str] = []
    for n_done, sentence in enumerate(sentences, start=1):
        try:
            clips += _cut_sentence(sentence, wanted, out, aligner)
        except EdgeseqError as fault:
            failed.append(f"{sentence.path}: {fault}")
        on_progress(n_done, len(sentences))
    if not clips:
        raise EdgeseqError(f"None of {len(sentences)} sentences could be cut:\n  " + "\n  ".join(failed[:20]))
    write_manifest(out / MANIFEST, clips)
    return CutReport(tuple(clips), len(sentences), tuple(failed), out / MANIFEST)


def _cut_sentence(sentence: Recording, wanted: Collection[str], out: Path, aligner: Aligner) -> list[Recording]:
    samples = read_clip(sentence, SAMPLE_RATE)
    clips = []
    for number, span in enumerate(aligner.align(samples, sentence.text)):
        if span.word not in wanted:
            continue
        start = max(0.0, span.start - MARGIN_SECONDS)
        clip = samples[round(start * SAMPLE_RATE) : round((span.end + MARGIN_SECONDS) * SAMPLE_RATE)]
        path = out / span.word / f"{sentence.path.stem}-{number}.flac"
        write_clip(path, clip, SAMPLE_RATE)
        cut_from = {"source": sentence.path.name, "source_start": round(sentence.offset + start, 2)}
        cut_from |= {key: sentence.extra[key] for key in ("licence", "license") if key in sentence.extra}
        clips.append(Recording(path, len(clip) / SAMPLE_RATE, span.word, speaker=sentence.speaker, extra=cut_from))
    return clips
