"""`edgeseq listen`: live words from a microphone, or from a file as if it were one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from edgeseq.cli.display import Display, Format, fit_start
from edgeseq.cli.live_line import LevelMeter, open_line
from edgeseq.cli.options import (
    DEVICE_VARIABLE,
    BitsOption,
    CompleteOption,
    EndpointOption,
    FiguresOption,
    FormatOption,
    LongestOption,
    ModelOption,
    PhrasesOption,
    RateOption,
    RejectOption,
    ThresholdOption,
    phrase_decoder,
    speller,
)
from edgeseq.cli.printing import say, take_line_away
from edgeseq.cli.progress import busy
from edgeseq.cli.search_options import Search, searches
from edgeseq.cli.stopping import Stop, stop_on_signals, until
from edgeseq.errors import printable
from edgeseq.model.default import DEFAULT_MODEL
from edgeseq.stream.endpoint import COMPLETE_SECONDS, ENDPOINT_SECONDS, LONGEST_SECONDS, endpoint_rules

if TYPE_CHECKING:
    from edgeseq.decoding.decoder import Decoder
    from edgeseq.sound.blocks import Floats, Lost
    from edgeseq.stream.recognizer import Recognizer

CHUNK_MS = 80
MODEL_COLUMNS = 79
"""of the line about the model where no terminal is narrower"""


@searches
def listen(
    model: ModelOption = DEFAULT_MODEL,
    bits: BitsOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            envvar=DEVICE_VARIABLE,
            metavar="INDEX|NAME",
            help="Microphone, as `edgeseq devices` lists it; part of a name is enough.  [default: the system's]",
        ),
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|URL",
            help="Hear a file or a network stream at real pace; '-' is standard input.",
        ),
    ] = None,
    rate: RateOption = None,
    form: FormatOption = Format.text,
    stable: Annotated[bool, typer.Option("--stable", help="Show only words of a partial that will not change.")] = False,
    figures: FiguresOption = False,
    phrases: PhrasesOption = None,
    phrase_threshold: ThresholdOption = None,
    reject: RejectOption = True,
    endpoint_seconds: EndpointOption = ENDPOINT_SECONDS,
    complete_seconds: CompleteOption = COMPLETE_SECONDS,
    longest_seconds: LongestOption = LONGEST_SECONDS,
    voice_activity: Annotated[
        bool, typer.Option("--voice-activity", help="Count silence only while the sound level is low.")
    ] = False,
    gate: Annotated[
        bool | None,
        typer.Option("--gate/--no-gate", help="Stop the network while there is no sound.  [default: with a microphone]"),
    ] = None,
    meter: Annotated[bool, typer.Option("--meter/--no-meter", help="Show the microphone's level on a terminal.")] = True,
    run: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Command to run for each final, without a shell; gets JSON on standard input."),
    ] = None,
    chunk_ms: Annotated[
        int, typer.Option("--chunk-ms", min=10, max=5000, help="Sound taken at a time, in milliseconds.")
    ] = CHUNK_MS,
    *,
    search: Search,
) -> None:
    """Print words while they are being said.

    A terminal shows the current line and rewrites it until it is final. In a pipe, text is one line for each
    final, and jsonl is one line for each partial and final. Ctrl-C and SIGTERM print the last words
    and end with exit code 0.

    On a terminal a bar shows the microphone's level, or `muted?` if it gives nothing but zeros. Words are dim until they are
    final.

    If the microphone is unplugged, or its sound server ends or hangs, edgeseq waits for it and reports the gap. It
    also reports sound that it drops because the machine is too slow for the model.

    A file, or a URL that ffmpeg opens (http, rtsp ...), is played at real pace through the same path as the
    microphone. Standard input is read as fast as it comes: WAV, or raw 16-bit little-endian mono samples.

    The files of --phrases and --hotwords are watched: the next utterance uses the new version. If it has faults,
    they are reported and the old version stays.

    Commands of --run start one after another and never delay the words. Their output goes to
    standard error, with a line for each command that fails or is slow.

    \b
    Examples:
      edgeseq listen
      edgeseq listen --device USB --format jsonl | jq .text
      edgeseq listen --input call.wav
      edgeseq listen --input rtsp://camera.local/stream
      arecord -f S16_LE -r 8000 | edgeseq listen --input -
      edgeseq listen --figures --run 'mosquitto_pub -t heard -l'
    """
    from edgeseq.sound.ffmpeg import without_password
    from edgeseq.stream.gate import Gate
    from edgeseq.stream.voice import LevelVoice

    with stop_on_signals() as stop:
        rules = endpoint_rules(endpoint_seconds, complete_seconds, longest_seconds)
        recognizer = _load(model, bits).with_rules(rules)
        if voice_activity:
            recognizer = recognizer.with_voice(LevelVoice(recognizer.sample_rate))
        if gate or (gate is None and input_file is None):
            recognizer = recognizer.with_gate(Gate(recognizer.sample_rate))
        beam = search.decoder(recognizer.metadata, phrases)
        if beam is not None:
            recognizer, watched = _with_beam(recognizer, beam, search)
        else:
            recognizer, watched = _with_phrases(recognizer, phrases, phrase_threshold, reject)
        spell = speller(figures, recognizer.metadata.language)
        file = None if input_file is None else without_password(input_file)
        chunk_seconds = chunk_ms / 1000
        source = (
            _microphone(device, recognizer.sample_rate, chunk_seconds)
            if input_file is None
            else _file(input_file, recognizer.sample_rate, rate, chunk_seconds)
        )
        with _runner(run) as act:
            display = Display(form, file, spell=spell)
            if meter and input_file is None:
                watched = _metered(watched, display, recognizer.sample_rate)
            _follow(recognizer, source, display, stop, watched=watched, stable=stable, act=act, phrases=phrases)


def listen_live(model: str) -> None:
    """Print what a model hears by the system's microphone, as `edgeseq listen` does, until Ctrl-C."""
    from edgeseq.stream.gate import Gate

    with stop_on_signals() as stop:
        recognizer = _load(model)
        recognizer = recognizer.with_gate(Gate(recognizer.sample_rate))
        source = _microphone(os.environ.get(DEVICE_VARIABLE), recognizer.sample_rate, CHUNK_MS / 1000)
        display = Display(Format.text)
        _follow(recognizer, source, display, stop, watched=_metered(_unwatched, display, recognizer.sample_rate))


def _load(model: str, bits: int | None = None) -> Recognizer:
    with busy(f"loading {model}"):
        from edgeseq.models import load_recognizer

        return load_recognizer(model, bits)


def _follow(
    recognizer: Recognizer,
    source: AbstractContextManager[Source],
    display: Display,
    stop: Stop,
    *,
    watched: Watched,
    stable: bool = False,
    act: Callable[[str], None] = lambda text: None,
    phrases: Path | None = None,
) -> None:
    """Show all that is understood of a source, until it ends or a stop is requested."""
    from edgeseq.events import Gap, only_stable
    from edgeseq.output.notify import alive_while, notify

    with source as (name, blocks, rest):
        say(f"listening on {name}; Ctrl-C ends\n{_understands(recognizer, phrases)}", err=True)
        notify("READY=1", f"STATUS=listening on {name}")
        events = recognizer.follow(watched(alive_while(until(blocks, stop))), rest)
        for event in only_stable(events) if stable else events:
            if isinstance(event, Gap):
                display.show_gap(event)
                continue
            display.show(event)
            if event.type == "final":
                act(display.spelled(event).to_json(display.file))
        take_line_away()
        notify("STOPPING=1")


def _understands(recognizer: Recognizer, phrases: Path | None) -> str:
    """Say in a line what the person may say."""
    from edgeseq.model.understanding import understanding

    metadata = recognizer.metadata
    what = understanding(metadata) if phrases is None else f"understands only the phrases of {phrases}"
    return fit_start(printable(f"{metadata.name} {what}"), min(MODEL_COLUMNS, shutil.get_terminal_size().columns - 1))


Watched = Callable[["Iterator[Floats | Lost]"], "Iterator[Floats | Lost]"]
"""Passes blocks of sound on, and does something between them."""


def _unwatched(blocks: Iterator[Floats | Lost]) -> Iterator[Floats | Lost]:
    return blocks


def _metered(watched: Watched, display: Display, rate: int) -> Watched:
    """Show the level of the blocks besides, where there is a terminal."""
    line = display.line or open_line()
    if line is None:
        return watched

    def during(blocks: Iterator[Floats | Lost]) -> Iterator[Floats | Lost]:
        from edgeseq.sound.blocks import Lost

        level = LevelMeter(rate)
        for block in watched(blocks):
            shown = None if isinstance(block, Lost) else level.take(block)
            if shown is not None:
                line.show_level(shown)
            yield block

    return during


def _with_phrases(
    recognizer: Recognizer, path: Path | None, threshold: float | None, reject: bool
) -> tuple[Recognizer, Watched]:
    """Let a recognizer understand the phrases of a file, and read them again whenever the file changes."""
    decoder = phrase_decoder(path, recognizer.metadata, threshold, reject)
    if decoder is None or path is None:
        return recognizer, _unwatched
    from edgeseq.phrases import load_phrases
    from edgeseq.phrases.changing import ChangingPhrases, PhraseWatch

    changing = ChangingPhrases(decoder)
    watch = PhraseWatch(
        path,
        lambda: load_phrases(path, recognizer.metadata, threshold=threshold, reject=reject),
        changing,
        _report,
    )
    return recognizer.with_decoder(changing), watch.during


def _with_beam(recognizer: Recognizer, decoder: Decoder[Any], search: Search) -> tuple[Recognizer, Watched]:
    """Let a recognizer use the search that was asked for, and read hotwords again whenever their file changes."""
    from edgeseq.decoding.beam import BeamDecoder
    from edgeseq.decoding.dictation import DictationDecoder
    from edgeseq.decoding.loading import ChangingHotwords

    if search.hotwords is None or not isinstance(decoder, BeamDecoder | DictationDecoder):
        return recognizer.with_decoder(decoder), _unwatched
    from edgeseq.decoding.hotwords import Hotwords
    from edgeseq.phrases.changing import PhraseWatch

    changing = ChangingHotwords(decoder)
    watch = PhraseWatch(
        search.hotwords,
        cast(Any, lambda: Hotwords(search.all_hotwords(decoder.tokens.language) or [], decoder.tokens)),
        cast(Any, changing),
        _report,
    )
    return recognizer.with_decoder(changing), watch.during


@contextmanager
def _runner(command: str | None) -> Iterator[Callable[[str], None]]:
    """Give what takes the JSON of each final: the command of --run, or nothing at all."""
    if command is None:
        yield lambda text: None
        return
    from edgeseq.output.actions import CommandRunner

    with CommandRunner(command, _report) as runner:
        yield runner.hand_over


Rest = Callable[[bool], None]
Source = tuple[str, "Iterator[Floats | Lost]", Rest]
"""A name to show, blocks of sound as they come, and what to call when they need not hurry."""


@contextmanager
def _file(path: str, sample_rate: int, rate: int | None, chunk_seconds: float) -> Iterator[Source]:
    from edgeseq.sound.audio import STANDARD_INPUT, read_blocks
    from edgeseq.sound.blocks import cut, paced
    from edgeseq.sound.doubts import watch_zeros
    from edgeseq.sound.ffmpeg import without_password

    blocks = read_blocks(path, sample_rate, rate)
    if path == STANDARD_INPUT:
        yield "standard input", watch_zeros(blocks, sample_rate, "standard input", _report), lambda is_resting: None
    else:
        pieces = cut(blocks, max(1, round(chunk_seconds * sample_rate)))
        yield without_password(path), paced(pieces, sample_rate), lambda is_resting: None


@contextmanager
def _microphone(device: str | None, sample_rate: int, chunk_seconds: float) -> Iterator[Source]:
    from edgeseq.sound.doubts import watch_zeros
    from edgeseq.sound.microphone import Microphone

    with Microphone(device, sample_rate, chunk_seconds, report=_report) as microphone:
        try:
            blocks = watch_zeros(microphone.blocks(), sample_rate, f"the microphone '{microphone.name}'", _report)
            yield f"{microphone.name} ({microphone.rate} Hz)", blocks, microphone.rest
        finally:
            for line in microphone.summary():
                _report(line)


def _report(line: str) -> None:
    say(f"edgeseq: {line}", err=True)
