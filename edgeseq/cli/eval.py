"""`edgeseq eval`: how well a model does on recordings whose words are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.hearing import Hearing
from edgeseq.cli.options import JobsOption, JournalOption, PhrasesOption, RejectOption, ThresholdOption
from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.cli.search_options import Search, searches
from edgeseq.errors import UsageError
from edgeseq.model.default import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseq.data.jobs import Outcome
    from edgeseq.data.manifest import Recording
    from edgeseq.data.noisy import Noise
    from edgeseq.evaluation.clip_results import Comparison, EvalReport
    from edgeseq.evaluation.reference_clips import Clip
    from edgeseq.evaluation.results import Results
    from edgeseq.stream.recognizer import Recognizer

ALL_PASSES = "0,1,2,3,4"
SHOWN_WORDS = 10
"""Words that a lexicon lacks, as many as are shown."""


@searches
def evaluate(
    manifest: Annotated[Path, typer.Option(help="Manifest to measure on, such as fsdd/test.jsonl (found in ./data).")],
    model: Annotated[str, typer.Option(help="Name, folder or file of the model.")] = DEFAULT_MODEL,
    bits: Annotated[int | None, typer.Option(help="Which file of the model's folder: 8, 4 or 32 bit.  [default: 8]")] = None,
    connected: Annotated[
        str, typer.Option(help="Join single words to strings, one pass per seed: 0,1,2,3,4", metavar="SEEDS")
    ] = "",
    compare: Annotated[
        str | None,
        typer.Option(help="Another model (NAME:32 takes its 32 bit file), for the paired difference."),
    ] = None,
    phrases: PhrasesOption = None,
    phrase_threshold: ThresholdOption = None,
    reject: RejectOption = True,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Mix in this recording of noise (found in ./data), with --snr.")
    ] = None,
    snr: Annotated[
        float | None, typer.Option(metavar="DB", min=-60, max=60, help="Level of the speech relative to the noise.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only this many clips from the beginning.")] = None,
    times: Annotated[
        bool, typer.Option("--times", help="Measure word times on words trimmed and joined at known samples.  [seeds: 0]")
    ] = False,
    partials: Annotated[bool, typer.Option("--partials", help="Count the words of partials that are taken back.")] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Compare confidences with the share of right words.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the reliability diagram of --calibration (needs matplotlib).")
    ] = None,
    jobs: JobsOption = None,
    journal: JournalOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    *,
    search: Search,
) -> None:
    """Measure the error rates and the speed of a model.

    The model hears recordings chunk by chunk, as from a microphone; words that are wrong are counted.

    With --connected, the recordings must be single words: each pass joins every clip into strings of 3 to 7
    words of one speaker, with gaps of 0 to 300 ms. With --compare, two models hear the single clips and the
    five connected passes (or those of --connected). Error rates in the JSON are fractions.

    Recordings whose text is empty hold no words. Those in which the model hears words count as accepted, and these words as
    inserted.

    With --phrases only the phrases of a file are understood, and clips in which none was heard are counted as
    rejected (their words are wrong, too). With --compare, both models understand them. Where the manifest has the keys
    `intent` and `slots`, those are compared: a slot that is missing, wrong or too many makes a clip wrong. Such lines need no
    text.

    With --noise an excerpt of a recording is mixed into each clip, the same one in every run. Its level is --snr decibels
    below the clip's speech, measured over the frames that are not silent.

    With --times or --calibration the JSON holds `measured`: what `edgeseq export --measured` keeps in a model,
    so that word times lose their delay and confidences mean what they say. Measure on recordings that
    are not the test's.

    With --jobs the clips are spread over processes, of this machine or of a Ray cluster. With --journal a run that was
    interrupted resumes. Errors are the same; speeds are those of processes side by side.

    \b
    Examples:
      edgeseq eval --manifest fsdd/test.jsonl --connected 0,1,2,3,4
      edgeseq eval --manifest fsdd/test.jsonl --times --partials --calibration
      edgeseq eval --manifest orders.jsonl --noise kitchen.flac --snr 10
    """
    from edgeseq.data.manifest import find_data, read_manifest
    from edgeseq.evaluation.evaluate import check_texts
    from edgeseq.evaluation.reference_clips import noisy_clips, single_clips

    asked = Measures(times, partials, calibration or picture is not None, picture)
    if compare and asked != Measures():
        raise UsageError("--compare counts errors alone; leave out --times, --partials, --calibration and --picture.")
    background = _noise(noise, snr, times)
    seeds = seeds_of(connected or (ALL_PASSES if compare else "0" if times else ""))
    hearing = Hearing(model, bits, search, phrases, phrase_threshold, reject)
    recognizer = _recognizer(hearing, asked.calibration)
    other_model, other_bits = _with_bits(compare or "")
    other_hearing = replace(hearing, model=other_model, bits=other_bits) if compare else None
    other = other_hearing.recognizer() if other_hearing else None
    recordings: list[Recording] = read_manifest(find_data(manifest), allow_empty_text=True)[:limit]
    for one in (recognizer, other):
        if one is not None:
            check_texts(recordings, one.metadata.token_table)
            _tell_unknown_words(one, recordings)
    clips = _joined(recordings, seeds, times) if seeds else single_clips(recordings)
    if other is not None:
        clips = single_clips(recordings) + clips
    if background is not None:
        clips = noisy_clips(clips, background)
    report = _hear(hearing, recognizer, clips, jobs, journal, asked.calibration)
    if other is None or other_hearing is None:
        results = _results(report, recognizer, asked)
        rejected = {} if phrases is None else {"rejected": report.silent}
        table = _table(report, rejected=phrases is not None)
        say(json.dumps(report.to_dict() | rejected | results.to_dict()) if as_json else f"{table}{results.to_text()}")
    else:
        _show_comparison(report, _hear(other_hearing, other, clips, jobs), (model, str(compare)), as_json)
    for failure in report.failed:
        say(f"not heard: {failure}", err=True)
    if report.failed:
        raise typer.Exit(1)


def _noise(file: Path | None, snr_db: float | None, timed: bool) -> Noise | None:
    """Read what is to be mixed in. Raises UsageError for options that do not fit together."""
    from edgeseq.data.manifest import find_data
    from edgeseq.data.noisy import Noise

    if (file is None) != (snr_db is None):
        raise UsageError("--noise FILE and --snr DB belong together; give both, or none.")
    if timed and file is not None:
        raise UsageError("--times compares with the places of words joined in silence; leave out --noise.")
    return None if file is None or snr_db is None else Noise(find_data(file), snr_db)


def _joined(recordings: list[Recording], seeds: list[int], timed: bool) -> list[Clip]:
    """Join single words to strings; recordings without words are none."""
    from edgeseq.evaluation.reference_clips import connected_clips, timed_clips

    words = [recording for recording in recordings if recording.text.strip()]
    if not words:
        raise UsageError("None of the recordings holds a word; leave out --connected, --compare and --times.")
    return (timed_clips if timed else connected_clips)(words, seeds)


def _tell_unknown_words(recognizer: Recognizer, recordings: list[Recording]) -> None:
    """Say how many words the lexicon lacks, where that decides what can be understood."""
    from edgeseq.decoding.dictation import DictationDecoder
    from edgeseq.evaluation.evaluate import words_outside

    decoder = recognizer.decoder
    if not isinstance(decoder, DictationDecoder):
        return
    unknown = words_outside(recordings, decoder.tokens)
    if unknown:
        shown = ", ".join(word for word, _ in unknown.most_common(SHOWN_WORDS)) + (" ..." if len(unknown) > SHOWN_WORDS else "")
        say(f"words that the lexicon lacks, and that count as wrong: {unknown.total():,} ({shown})", err=True)


@dataclass(frozen=True)
class Measures:
    """What to measure besides error rates."""

    times: bool = False
    partials: bool = False
    calibration: bool = False
    picture: Path | None = None


def _results(report: EvalReport, recognizer: Recognizer, asked: Measures) -> Results:
    """Measure what was asked for; draw the picture."""
    from edgeseq.evaluation.results import measure

    results = measure(report.heard, recognizer, times=asked.times, partials=asked.partials, calibration=asked.calibration)
    if asked.picture is not None and results.calibration is not None:
        from edgeseq.evaluation.calibration import draw

        draw(results.calibration.bins, f"{recognizer.metadata.name}: confidence of words", asked.picture)
    return results


def _with_bits(model: str) -> tuple[str, int | None]:
    """Take `NAME:32` apart."""
    name, colon, bits = model.rpartition(":")
    return (name, int(bits)) if colon and bits.isdigit() else (model, None)


def seeds_of(text: str) -> list[int]:
    """Read numbers between commas. Raises UsageError."""
    try:
        seeds = [int(seed) for seed in text.split(",") if seed.strip()]
    except ValueError:
        seeds = [-1]
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"--connected {text!r}: wanted are seeds, numbers from 0, between commas: {ALL_PASSES}")
    return seeds


def _recognizer(hearing: Hearing, uncalibrated: bool) -> Recognizer:
    recognizer = hearing.recognizer()
    return recognizer.uncalibrated() if uncalibrated else recognizer


def _hear(
    hearing: Hearing,
    recognizer: Recognizer,
    clips: list[Clip],
    jobs: int | None = None,
    journal_file: Path | None = None,
    uncalibrated: bool = False,
) -> EvalReport:
    from edgeseq.data.jobs import Journal, run
    from edgeseq.evaluation.clip_results import ClipResult
    from edgeseq.evaluation.evaluate import evaluate, report_on
    from edgeseq.stream.serialization import from_plain

    with progress(f"Hearing with {hearing.model}", unit="clips") as show:
        if jobs is None and journal_file is None:
            return evaluate(recognizer, clips, on_progress=show)
        items = {f"{number} {_digest(clip)}": clip for number, clip in enumerate(clips)}
        opener = partial(_open, hearing, uncalibrated) if jobs else partial(partial, _hear_clip, recognizer)
        asked = hearing.asked(command="eval", uncalibrated=uncalibrated)
        with nullcontext() if journal_file is None else closing(Journal(journal_file, asked)) as journal:
            outcomes = {}
            for key, outcome in run(opener, items, jobs=jobs, journal=journal):
                outcomes[key] = outcome
                show(len(outcomes), len(items))
    told = [outcomes[key] for key in items]
    heard = [from_plain(one.result, [ClipResult]) for one in told if one.fault is None]
    failed = [f"{clip.text!r}: {one.fault}" for clip, one in zip(clips, told, strict=True) if one.fault is not None]
    return report_on(heard, failed)


def _open(hearing: Hearing, uncalibrated: bool) -> Callable[[Any], Outcome]:
    """Make, in a process of its own, what hears a clip."""
    return partial(_hear_clip, _recognizer(hearing, uncalibrated))


def _hear_clip(recognizer: Recognizer, clip: Clip) -> Outcome:
    from edgeseq.data.jobs import Outcome
    from edgeseq.errors import AudioError
    from edgeseq.evaluation.evaluate import hear
    from edgeseq.stream.serialization import to_plain

    try:
        heard = hear(recognizer, clip)
    except AudioError as fault:
        return Outcome(None, str(fault))
    return Outcome(to_plain(replace(heard, chunk_ms=tuple(round(ms, 3) for ms in heard.chunk_ms))))


def _digest(clip: Clip) -> str:
    import hashlib

    return hashlib.sha256(repr(clip).encode()).hexdigest()[:16]


def _show_comparison(report: EvalReport, other: EvalReport, names: tuple[str, str], as_json: bool) -> None:
    from edgeseq.evaluation.evaluate import compare

    comparison = compare(report, other)
    if as_json:
        reports = {"model": report.to_dict(), "other": other.to_dict()}
        say(json.dumps(comparison.to_dict() | reports))
    else:
        say(f"{names[0]}\n{_table(report)}\n\n{names[1]}\n{_table(other)}\n\n{_verdict(comparison)}")


def _table(report: EvalReport, rejected: bool = False) -> str:
    lines = [
        *_rates(report),
        *([] if report.understanding is None else report.understanding.to_lines()),
        f"clips right   {100 * report.right / report.clips:.2f} %  ({report.right:,} of {report.clips:,})",
        *([f"rejected      {100 * report.silent / report.clips:.2f} %  ({report.silent:,} of {report.clips:,})"] * rejected),
        f"real time     {1 / report.rtf:,.0f} times faster (rtf {report.rtf:.4f}; without resampling)",
        f"80 ms chunk   {report.p99_ms:.2f} ms at most, in 99 of 100",
        f"memory        {report.rss_mb:.0f} MB, this whole process",
    ]
    for said, heard, n in report.confusions():
        lines.append(f"  {n:4} x  {said or '(nothing)'} heard as {heard or '(nothing)'}")
    for name, meant, heard, n in () if report.understanding is None else report.understanding.confusions:
        lines.append(f"  {n:4} x  {name}: {meant or '(nothing)'} understood as {heard or '(nothing)'}")
    return "\n".join(lines)


def _rates(report: EvalReport) -> list[str]:
    """Say how many words and letters are wrong, and in how many clips without words some were heard."""
    lines = []
    if report.wer is not None and report.ci95 is not None:
        low, high = (100 * bound for bound in report.ci95)
        counts = f"({report.errors:,} of {report.words:,}; 95 % interval {low:.2f} to {high:.2f} %)"
        lines += [f"words wrong   {100 * report.wer:.2f} %  {counts}"]
    if report.cer is not None:
        lines += [f"letters wrong {100 * report.cer:.2f} %"]
    if report.without_words is not None:
        wordless = report.without_words
        low, high = (100 * bound for bound in wordless.ci95)
        lines += [
            f"accepted      {100 * wordless.share:.2f} %  ({wordless.accepted:,} of {wordless.clips:,} clips without words; "
            f"95 % interval {low:.2f} to {high:.2f} %; words inserted: {wordless.inserted:,})"
        ]
    return lines


def _verdict(comparison: Comparison) -> str:
    low, high = comparison.ci95
    return (
        f"net extra errors: {comparison.net_extra_errors:+d} "
        f"({comparison.errors} against {comparison.other_errors}, over {comparison.words:,} words; "
        f"95 % interval {low:+.1f} to {high:+.1f})"
    )
