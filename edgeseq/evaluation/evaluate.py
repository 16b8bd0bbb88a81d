"""How well a model does: error rates through the streaming path, and paired differences of two models.

The error rate ("words wrong") is (S + D + I) / N: words substituted, deleted and inserted, by the words of
the references, after Unicode NFC and lower case. A clip is "right" when its text is exactly the reference. A clip without
words is "accepted" when words were heard in it; they count among the inserted ones. For a clip without text whose meaning is
known, no words are counted: it is right when intent and slots are.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt

from edgeseq.data.clips import Samples
from edgeseq.data.manifest import MAX_FAULTS, Recording
from edgeseq.errors import AudioError, ManifestError
from edgeseq.evaluation.clip_results import ClipResult, Comparison, EvalReport
from edgeseq.evaluation.partials import PartialStats, count_shown
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.evaluation.word_times import Span, TimedString, TimesReport, report_times
from edgeseq.events import Final
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import TokenTable, normalize_text

CHUNK_SECONDS = 0.08
"""What a microphone hands over at a time."""

RESAMPLES = 10_000
BOOTSTRAP_SEED = 0

Progress = Callable[[int, int], None]
"""Called with the number of clips heard and to hear."""


def check_texts(recordings: Iterable[Recording], tokens: TokenTable) -> None:
    """Raise ManifestError that lists all texts which the model has no letters for. Phones write any: see `words_outside`."""
    if tokens.kind == "phones":
        return
    faults = []
    for recording in recordings:
        unknown = tokens.unknown(recording.text)
        if unknown:
            faults.append(f"{recording.path}: {recording.text!r} holds {', '.join(map(repr, unknown))}")
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:MAX_FAULTS])
        more = f"\n  ... and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ManifestError(
            f"{len(faults)} texts cannot be spelled by this model (its letters: {' '.join(sorted(tokens.letters))}).\n"
            f"{shown}{more}\n  Correct them, or leave these recordings out."
        )


def words_outside(recordings: Iterable[Recording], tokens: TokenTable) -> Counter[str]:
    """Count the words that a model of phones cannot tell, since its lexicon lacks them."""
    words = Counter(word for recording in recordings for word in tokens.normalize(recording.text).split())
    return Counter({word: count for word, count in words.items() if word not in tokens.pronunciations})


def evaluate(recognizer: Recognizer, clips: Sequence[Clip], *, on_progress: Progress = lambda done, total: None) -> EvalReport:
    """Hear clips as a microphone would give them, and compare what was understood with what was said.

    A clip that cannot be read is reported in `failed`, and the others continue. Raises AudioError when none can.
    """
    heard: list[ClipResult] = []
    failed: list[str] = []
    for n_done, clip in enumerate(clips, start=1):
        try:
            heard.append(hear(recognizer, clip))
        except AudioError as fault:
            failed.append(str(fault))
        on_progress(n_done, len(clips))
    return report_on(heard, failed)


def hear(recognizer: Recognizer, clip: Clip) -> ClipResult:
    """Push one clip through the streaming path: 80 ms at a time, then the flush."""
    samples, spans = _read(clip, recognizer.sample_rate)
    n_chunk = round(CHUNK_SECONDS * recognizer.sample_rate)
    state = recognizer.init_state()
    events, chunk_ms = [], []
    for first in range(0, len(samples), n_chunk):
        began = time.perf_counter()
        new, state = recognizer.step(samples[first : first + n_chunk], state)
        chunk_ms.append(1000 * (time.perf_counter() - began))
        events += new
    began = time.perf_counter()
    new, _ = recognizer.flush(state)
    flush_seconds = time.perf_counter() - began
    events += new
    text = " ".join(event.text for event in events if isinstance(event, Final))
    meaning = clip.meaning
    seconds, compute_seconds = len(samples) / recognizer.sample_rate, sum(chunk_ms) / 1000 + flush_seconds
    compared = compare_texts(clip.text, text, seconds, compute_seconds, recognizer.metadata.language)
    if meaning is not None and not clip.text:
        compared = replace(compared, errors=0, edits=())
    return replace(compared, chunk_ms=tuple(chunk_ms), events=tuple(events), spans=tuple(spans), meaning=meaning)


def compare_texts(said: str, heard: str, seconds: float, compute_seconds: float, language: str = "") -> ClipResult:
    """Count the words of a clip of `seconds` that were not understood."""
    reference = normalize_text(said, language)
    edits = word_edits(reference, heard)
    return ClipResult(reference, heard, len(edits), len(reference.split()), edits, seconds, compute_seconds)


def _read(clip: Clip, sample_rate: int) -> tuple[Samples, list[Span]]:
    return clip.read_timed(sample_rate) if isinstance(clip, TimedString) else (clip.read(sample_rate), [])


def same_words(reference: str, hypothesis: str) -> list[tuple[int, int]]:
    """Pair the words that were understood, by the shortest alignment: (place in the reference, place in the hypothesis).

    >>> same_words("three one four", "tree one four nine")
    [(1, 1), (2, 2)]
    """
    if not reference:
        return []
    pieces = jiwer.process_words(reference, hypothesis).alignments[0]
    return [
        (piece.ref_start_idx + n, piece.hyp_start_idx + n)
        for piece in pieces
        if piece.type == "equal"
        for n in range(piece.ref_end_idx - piece.ref_start_idx)
    ]


def times_report(heard: Iterable[ClipResult]) -> TimesReport:
    """Compare word times with those that clips of `timed_clips` are made by."""
    return report_times((one.spans, one.words, same_words(one.reference, one.hypothesis)) for one in heard if one.spans)


def partials_report(heard: Iterable[ClipResult]) -> tuple[PartialStats, PartialStats]:
    """Count the words shown and taken back: all of partials, and only those that they call stable."""
    shown = [(count_shown(one.events), count_shown(one.events, stable=True)) for one in heard]
    return sum((normal for normal, _ in shown), PartialStats()), sum((stable for _, stable in shown), PartialStats())


def rated_words(heard: Iterable[ClipResult]) -> tuple[list[float], list[bool]]:
    """List the confidence of every word reported, and whether it was right."""
    confidences, right = list[float](), list[bool]()
    for one in heard:
        understood = {place for _, place in same_words(one.reference, one.hypothesis)}
        confidences += [word.confidence for word in one.words]
        right += [place in understood for place in range(len(one.words))]
    return confidences, right


def word_edits(reference: str, hypothesis: str) -> tuple[tuple[str, str], ...]:
    """List what must be changed, as (said, heard), by the shortest alignment.

    >>> word_edits("three one four", "tree one four nine")
    (('three', 'tree'), ('', 'nine'))
    """
    said, heard = reference.split(), hypothesis.split()
    edits: list[tuple[str, str]] = []
    for piece in jiwer.process_words(reference, hypothesis).alignments[0]:
        of_said = said[piece.ref_start_idx : piece.ref_end_idx]
        of_heard = heard[piece.hyp_start_idx : piece.hyp_end_idx]
        if piece.type == "substitute":
            edits += zip(of_said, of_heard, strict=True)
        elif piece.type == "delete":
            edits += [(word, "") for word in of_said]
        elif piece.type == "insert":
            edits += [("", word) for word in of_heard]
    return tuple(edits)


def compare(report: EvalReport, other: EvalReport) -> Comparison:
    """Set two models' reports over the same clips side by side."""
    return compare_heard(report.heard, other.heard)


def compare_heard(heard: Sequence[ClipResult], other: Sequence[ClipResult]) -> Comparison:
    """Set what was made of the same clips in two ways side by side."""
    errors = np.array([one.errors for one in heard])
    other_errors = np.array([one.errors for one in other])
    return Comparison(
        errors=int(errors.sum()),
        other_errors=int(other_errors.sum()),
        words=sum(one.n_words for one in heard),
        ci95=bootstrap(lambda rows: (errors - other_errors)[rows].sum(axis=1), len(errors)),
    )


def bootstrap(statistic: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]], n_clips: int) -> tuple[float, float]:
    """Give the 95 % interval of a statistic over clips drawn with replacement (Efron's percentiles).

    `statistic` takes clip numbers [n_draws, n_clips] and gives a value a draw, NaN where there is none. Always the same draws.
    """
    random = np.random.default_rng(BOOTSTRAP_SEED)
    n_at_once = max(1, 1_000_000 // n_clips)  # 8 MB of clip numbers
    values = [
        statistic(random.integers(n_clips, size=(min(n_at_once, RESAMPLES - first), n_clips)))
        for first in range(0, RESAMPLES, n_at_once)
    ]
    low, high = np.nanpercentile(np.concatenate(values), [2.5, 97.5])
    return float(low), float(high)


def _ratios(errors: npt.NDArray[np.int64], words: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Divide; NaN where there are no words."""
    return np.divide(errors, words, out=np.full(len(words), np.nan), where=words > 0)


def report_on(heard: Sequence[ClipResult], failed: Sequence[str]) -> EvalReport:
    """Sum up what was made of clips; `failed` says which could not be heard. Raises AudioError when none could."""
    if not heard:
        raise AudioError(f"None of {len(failed)} clips could be heard:\n  " + "\n  ".join(failed[:MAX_FAULTS]))
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB
    errors = np.array([one.errors for one in heard])
    words = np.array([one.n_words for one in heard])
    chunk_ms = np.concatenate([one.chunk_ms for one in heard])
    with_text = [one for one in heard if one.reference or one.meaning is None]
    has_letters = any(one.reference for one in with_text)
    cer = jiwer.cer([one.reference for one in with_text], [one.hypothesis for one in with_text]) if has_letters else None
    return EvalReport(
        heard=tuple(heard),
        failed=tuple(failed),
        wer=float(errors.sum() / words.sum()) if has_letters else None,
        cer=None if cer is None else float(cer),
        errors=int(errors.sum()),
        words=int(words.sum()),
        right=sum(one.is_right for one in heard),
        clips=len(heard),
        ci95=bootstrap(lambda rows: _ratios(errors[rows].sum(axis=1), words[rows].sum(axis=1)), len(heard))
        if has_letters
        else None,
        rtf=sum(one.compute_seconds for one in heard) / sum(one.seconds for one in heard),
        p99_ms=float(np.percentile(chunk_ms, 99)),
        rss_mb=rss_mb,
    )
