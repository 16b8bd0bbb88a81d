"""`edgeseq data`: corpora, folders and text to manifests of recordings."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli import align, label, record, synth
from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from edgeseq.data.check import DataReport, Spelling

app = typer.Typer(
    help="Import, synthesize, record and check training data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

EXIT_INTERRUPTED = 130
MAX_EXAMPLES = 5
"""Findings of a kind that are shown."""
MAX_NOTES = 10
"""Kinds of what is left out that are listed."""


@app.command("import")
def import_(
    corpus: Annotated[str, typer.Argument(help="What to import; see above.", metavar="CORPUS")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A folder or archive that holds the corpus; then nothing is downloaded."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the manifests.  [default: data/CORPUS]")] = None,
    parts: Annotated[str, typer.Option(help="Parts or splits, by the corpus's own names, separated by commas.")] = "",
    words_only: Annotated[bool, typer.Option("--words-only", help="Leave punctuation out of the texts.")] = False,
) -> None:
    """Import a corpus, a folder or an archive as manifests.

    Each split of the corpus becomes a manifest.

    Corpora: librispeech, minilibrispeech, speechcommands, speechocean762, an4, ljspeech, vctk, aishell (AISHELL-1), fsdd
    (Free Spoken Digits) are downloaded where --from names nothing; commonvoice (any language) is fetched by hand. Other
    data: kaldi (data directories), nemo (manifests), lhotse (cuts), huggingface (saved to disk), folder (recordings with a
    .txt beside each, or a CSV or TSV).

    If the folder $EDGESEQ_DATA/CORPUS holds the corpus, that is used. An interrupted download resumes
    where it ended.

    Example: edgeseq data import librispeech --parts train-clean-100,dev-clean
    """
    from edgeseq.data.corpora import ImportRequest, importer

    import_corpus = importer(corpus)
    source = source or (_already_here(corpus) if corpus == "fsdd" else None)
    folder = out or Path("data") / corpus
    with _sigterm_as_interrupt():
        try:
            imported = import_corpus(ImportRequest(corpus, folder, source, tuple(synth.split(parts)), words_only, progress))
        except KeyboardInterrupt:
            say("\nStopped. To continue, run the same command again.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    for note, count in Counter(imported.left_out).most_common(MAX_NOTES):
        say(f"left out: {note}" + (f" ({count:,} times)" if count > 1 else ""), err=True)
    if len(set(imported.left_out)) > MAX_NOTES:
        say(f"left out: ... and {len(set(imported.left_out)) - MAX_NOTES:,} more notes", err=True)
    for manifest, n_recordings in imported.manifests.items():
        say(f"{manifest}: {n_recordings:,} recordings", err=True)
    say(f"The recordings lie in {imported.folder}; licence: {imported.licence}", err=True)
    largest = max(imported.manifests, key=imported.manifests.__getitem__)
    say(f"Next: edgeseq data check {largest}", err=True)


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="The manifest to check.", metavar="MANIFEST")],
    against: Annotated[
        list[Path] | None, typer.Option(help="A test manifest, whose speakers and sound must not be trained on.")
    ] = None,
    tokens: Annotated[
        str,
        typer.Option(help="A recipe (.yaml) or a model, whose tokens must spell the texts.  [default: 40 ms per character]"),
    ] = "",
    language: Annotated[str, typer.Option(help="Language of the texts; tr and az have their own small letters.")] = "",
    headers_only: Annotated[bool, typer.Option("--headers-only", help="Do not decode, so do not check levels.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw durations, levels and pace.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 for any finding.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="All findings as JSON.")] = False,
) -> None:
    """Find what would stop a training, or hurt it.

    It finds files that are unreadable, silent or clipped, wrong durations, texts that the tokens cannot spell, texts too long
    for their sound (CTC needs one row per token, and one between equal neighbours), duplicate sound, and speakers and sound
    that a test manifest has, too. The exit code is 1 if something would stop a training.

    Example: edgeseq data check data/mine/train.jsonl --against data/mine/test.jsonl --tokens digits-en
    """
    import json

    from edgeseq.data.check import check as check_manifest
    from edgeseq.data.check_picture import draw_picture
    from edgeseq.data.manifest import find_data

    spelling = _spelling(tokens) if tokens else None
    tests = [find_data(path) for path in against or []]
    with progress(f"Checking {manifest}") as show, _sigterm_as_interrupt():
        try:
            report = check_manifest(
                find_data(manifest),
                tests,
                spelling,
                language=language,
                decode=not headers_only,
                jobs=jobs,
                on_progress=show,
            )
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if picture:
        draw_picture(report, picture)
    if json_:
        say(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        _show_report(report)
    if report.stops or (strict and report.findings):
        raise typer.Exit(1)


def _spelling(tokens: str) -> Spelling:
    """Take the tokens of a recipe or of a model."""
    from edgeseq.data.check import Spelling
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.models import find_model, read_metadata

    if not tokens.endswith((".yaml", ".yml")):
        metadata = CtcMetadata.of(read_metadata(find_model(tokens)))
        return Spelling(metadata.token_table, metadata.step_samples / metadata.sample_rate)
    try:
        from edgeseq.training.recipe_file import load_recipe
        from edgeseq.training.tasks.ctc import Task as CtcTask
        from edgeseq.training.trainer import load_batches
    except ModuleNotFoundError as fault:
        raise MissingExtraError(f"Recipes need {fault.name}, which is not installed: pip install 'edgeseq[train]'") from fault
    recipe = load_recipe(Path(tokens))
    task = load_batches(recipe).task
    if not isinstance(task, CtcTask):
        raise UsageError(f"--tokens {tokens}: a recipe of the task '{recipe.task.kind}', which writes no words; wanted 'ctc'.")
    return Spelling(task.tokens, recipe.row_units / recipe.frontend.sample_rate)


def _show_report(report: DataReport) -> None:
    from edgeseq.data.check import STOPS

    about = report.to_dict()
    amounts = [f"{about['recordings']:,} recordings", f"{about['hours']:.2f} hours", f"{about['speakers']:,} speakers"]
    rates = [f"{rate} Hz" for rate in about["sample_rates"]]
    say(f"{report.manifest}: {', '.join(amounts + rates)}")
    for key, name, unit in (("duration", "duration", "s"), ("level_db", "level", "dB of full scale")):
        if spread := about[key]:
            say(f"{name}: {spread['least']:.2f} to {spread['most']:.2f} {unit}, median {spread['median']:.2f}")
    say("characters: " + " ".join(f"{c} {n:,}" for c, n in about["characters"].items()))
    for kind, count in report.counts.items():
        say(f"{'stops a training' if kind in STOPS else 'hurts'}: {kind}: {count:,}")
        examples = [finding for finding in report.findings if finding.kind == kind][:MAX_EXAMPLES]
        for finding in examples:
            say(f"    {finding.where}: {finding.what}")
        if count > len(examples):
            say(f"    ... and {count - len(examples):,} more (--json lists all)")
    if not report.findings:
        say("Nothing was found that would stop or hurt a training.")


@app.command()
def shar(
    manifest: Annotated[Path | None, typer.Argument(help="Recordings to write.", metavar="[MANIFEST]")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the archives.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Recordings in an archive.")] = 1000,
    format_: Annotated[str, typer.Option("--format", help="Format of the sound: flac or wav.")] = "flac",
    index: Annotated[Path | None, typer.Option(help="Only index this folder of archives, made by any program.")] = None,
) -> None:
    """Write recordings to Lhotse Shar archives.

    Training reads these few large files without unpacking them. A recipe names the folder in place of a manifest.

    This command needs the extra `corpora`; training on archives does not.

    Example: edgeseq data shar data/librispeech/train-clean-100.jsonl --out data/train-clean-100-shar
    """
    from edgeseq.data.manifest import find_data, read_manifest
    from edgeseq.data.shar import index_shar, write_shar

    if (index is None) == (manifest is None) or (manifest is None) != (out is None):
        raise UsageError("Wanted: MANIFEST and --out FOLDER, or --index FOLDER.")
    with _sigterm_as_interrupt():
        try:
            if index is not None:
                with progress(f"Indexing {index}", unit="archives") as show:
                    count = index_shar(index, show)
            else:
                assert manifest is not None and out is not None, "looked at above"
                with progress(f"Writing {out}") as show:
                    recordings = read_manifest(find_data(manifest))
                    count = write_shar(recordings, out, shard_size=shard_size, audio_format=format_, on_progress=show)
        except KeyboardInterrupt:
            say("\nStopped; nothing was written.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    say(f"{index or out}: {count:,} recordings; name it in a recipe as the manifest.", err=True)


app.command("synth")(synth.synth)
app.command("record")(record.record)
app.command("label")(label.label)
app.command("align")(align.align)


@app.command()
def cut(
    manifest: Annotated[Path, typer.Argument(help="Manifest of transcribed sentences.", metavar="MANIFEST")],
    words: Annotated[str, typer.Option(help="The words to cut out, separated by commas.")],
    out: Annotated[Path, typer.Option(help="Folder for the clips and their manifest.jsonl.")],
) -> None:
    """Cut single words out of transcribed sentences.

    It finds the words by pocketsphinx, an optional package: pip install pocketsphinx

    Example: edgeseq data cut librispeech/train.jsonl --words yes,no --out data/cut
    """
    from edgeseq.data.cut import cut_words
    from edgeseq.data.manifest import find_data, read_manifest

    recordings = read_manifest(find_data(manifest))
    with progress(f"Cutting to {out}", unit="sentences") as show:
        report = cut_words(recordings, synth.split(words), out, on_progress=show)
    for failure in report.failed:
        say(f"left out: {failure}", err=True)
    say(f"{report.manifest}: {len(report.clips):,} clips of {report.n_sentences:,} sentences", err=True)
    if report.failed:
        raise typer.Exit(1)


def _already_here(corpus: str) -> Path | None:
    folder = os.environ.get("EDGESEQ_DATA")
    here = Path(folder) / corpus if folder else None
    return here if here is not None and here.is_dir() else None


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, and Ctrl-C too where a script's `&` has made it deaf to that."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {signum: signal.signal(signum, interrupt) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
