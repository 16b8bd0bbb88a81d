"""`edgeseq devices`: microphones, as the machine sees them, and how loud they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.display import Format, can_rewrite
from edgeseq.cli.live_line import CLEAR_TO_END
from edgeseq.cli.options import DEVICE_VARIABLE, FormatOption
from edgeseq.cli.stopping import stop_on_signals, until
from edgeseq.errors import printable

if TYPE_CHECKING:
    from edgeseq.sound.blocks import Floats
    from edgeseq.sound.microphone import Microphone

METER_SECONDS = 0.5
"""A level is shown so often."""
BAR_COLUMNS = 30
QUIET_DB = -45.0
"""Where even the loudest sound stays below this, the microphone is turned down."""


def devices(
    form: FormatOption = Format.text,
    test: Annotated[bool, typer.Option("--test", help="Show how loud a microphone is, instead of the list.")] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            envvar=DEVICE_VARIABLE,
            metavar="INDEX|NAME",
            help="Which microphone to test.  [default: the system's]",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, metavar="SECONDS", help="How long to test it.")] = 10.0,
) -> None:
    """List the microphones, or test one.

    `*` marks the one that `edgeseq listen` uses by default.

    --test opens one of them and prints its rate, channels and format, and its level, peak and mean,
    twice a second. Speak as you will speak later: peaks between -30 and -6 dB are right.

    \b
    Examples:
      edgeseq devices
      edgeseq listen --device 2
      edgeseq devices --test --device USB --seconds 5
    """
    if test:
        _show_levels(device, seconds, form)
        return
    from edgeseq.sound.microphone import list_microphones

    for found in list_microphones():
        if form is Format.jsonl:
            typer.echo(json.dumps(dataclasses.asdict(found), ensure_ascii=False))
        else:
            mark = "*" if found.is_default else " "
            typer.echo(f"{mark} {found.index:3}  {printable(found.name)}  ({_channels(found.n_channels)}, {found.rate} Hz)")


def _show_levels(device: str | None, seconds: float, form: Format) -> None:
    from edgeseq.sound.level import bar, level
    from edgeseq.sound.microphone import Microphone

    loudest, n_clipped, n_blocks = None, 0, 0
    with stop_on_signals() as stop, Microphone(device, 16_000, report=_report) as microphone:
        opened = microphone.opened
        if form is not Format.jsonl:
            name = printable(opened.name)
            typer.echo(f"{name}: {opened.rate} Hz, {_channels(opened.n_channels)}, {opened.sample_format}")
        for block in until(_stretches(microphone, seconds), stop):
            if not len(block):
                continue
            heard, n_blocks = level(block), n_blocks + 1
            n_clipped += heard.clipped
            loudest = heard if loudest is None or heard.peak_db > loudest.peak_db else loudest
            if form is Format.jsonl:
                typer.echo(json.dumps(dataclasses.asdict(heard)))
                continue
            said = "  CLIPPED" if heard.clipped else "  only zeros" if heard.is_zero else ""
            line = f"[{bar(heard.peak_db, BAR_COLUMNS)}]  peak {heard.peak_db:6.1f} dB  mean {heard.rms_db:6.1f} dB{said}"
            typer.echo(f"\r{line}{CLEAR_TO_END}" if can_rewrite() else line, nl=not can_rewrite())
    if form is Format.jsonl:
        return
    if can_rewrite():
        typer.echo()
    if loudest is None:
        typer.echo("nothing came, not even silence: another program may hold it, or the sound server hangs.")
    elif loudest.is_zero:
        typer.echo("only zeros: is it muted, or switched off?")
    elif n_clipped:
        typer.echo(
            f"clipped: {n_clipped} samples were as loud as the device can tell. Turn it down, or speak from further away."
        )
    elif loudest.peak_db < QUIET_DB:
        typer.echo(f"quiet: the loudest was {loudest.peak_db:.0f} dB. Turn it up, or speak from nearer.")
    else:
        typer.echo(f"well: the loudest was {loudest.peak_db:.0f} dB.")


def _stretches(microphone: Microphone, seconds: float) -> Iterator[Floats]:
    """Join what a microphone gives to stretches of `METER_SECONDS`, all channels; empty ones while nothing comes."""
    import time

    import numpy as np

    from edgeseq.sound.blocks import Lost

    pieces: list[Floats] = []
    end = time.monotonic() + seconds
    for block in microphone.raw_blocks():
        if isinstance(block, Lost):
            pieces = []
            continue
        pieces += [block] if len(block) else []
        is_over = time.monotonic() >= end
        if sum(map(len, pieces)) >= METER_SECONDS * microphone.rate or (is_over and pieces):
            yield np.concatenate(pieces)
            pieces = []
        else:
            yield block[:0]
        if is_over:
            return


def _channels(number: int) -> str:
    return f"{number} channel{'s' if number > 1 else ''}"


def _report(line: str) -> None:
    typer.echo(f"edgeseq: {line}", err=True)
