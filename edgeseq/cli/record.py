"""`edgeseq data record`: prompts on a terminal, takes from this board's microphone."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.options import DEVICE_VARIABLE
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.errors import DeviceError, UsageError, printable

if TYPE_CHECKING:
    from edgeseq.data.record import Session, State
    from edgeseq.data.take import Take

EXIT_INTERRUPTED = 130
BLOCK_SECONDS = 0.08
BAR_COLUMNS = 30
PLAY = "p"
ERASE_LINE = "\r\x1b[K"


def record(
    prompts: Annotated[Path, typer.Option(help="Texts to say, one per line.")],
    out: Annotated[Path, typer.Option(help="Folder for the recordings and their manifest.jsonl.")],
    speaker: Annotated[str, typer.Option(help="Name of the speaker, for the manifest.")],
    takes: Annotated[int, typer.Option(min=1, help="Recordings of each prompt.")] = 1,
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", envvar=DEVICE_VARIABLE, metavar="INDEX|NAME", help="Microphone, see `edgeseq devices`."),
    ] = None,
    rate: Annotated[int, typer.Option(min=8000, max=48000, help="Sample rate of the files, in Hz.")] = 16_000,
) -> None:
    """Record your own voice, prompt by prompt.

    It shows a prompt, records it, checks the level, and keeps it or asks again.

    Enter begins a take; it ends by itself when you have spoken, or by Enter. Then the level is judged: too quiet, clipped,
    noisy, no speech. Kept takes are on disk at once, so you may end a session (q, Ctrl-C) and start it again: it does not
    ask for prompts that are done.

    Example: edgeseq data record --prompts sentences.txt --out data/mine --speaker anna
    """
    from edgeseq.data.record import Over, Session
    from edgeseq.data.synth import read_texts
    from edgeseq.sound.microphone import Microphone

    texts = read_texts(prompts)
    session = Session(texts, out, speaker, rate, takes)
    if session.n_done_before:
        _say(f"{session.n_done_before} of {len(session.prompts)} prompts are done already.")
    if isinstance(session.state, Over):
        return
    with _keys() as keys, stop_on_signals() as stop, Microphone(device, rate, BLOCK_SECONDS, report=_report) as microphone:
        session.microphone = microphone.name
        _say(f"recording with {printable(microphone.name)} ({microphone.rate} Hz)")
        _show_change(session)
        for block in microphone.blocks():
            if stop.requested or isinstance(session.state, Over):
                break
            before, key = session.state, keys.pressed()
            session.step(block, key)
            _play_if_asked(session.state, key, rate)
            if type(session.state) is not type(before):
                _show_change(session)
            else:
                _show_level(session.state, rate)
    _say(f"\n{session.manifest}: {session.kept} kept, {session.skipped} skipped")
    if stop.requested:
        _say("Stopped. To continue, run the same command again.")
        raise typer.Exit(EXIT_INTERRUPTED)


def _show_change(session: Session) -> None:
    """Tell what is to be done now."""
    from edgeseq.data.record import Listening, Reviewing, Waiting

    number, total = session.place
    if isinstance(session.state, Waiting):
        _say(f"\n[{number}/{total}]  {printable(session.prompt.text)}\n  Enter: record, s: skip, b: back, q: quit")
    elif isinstance(session.state, Listening):
        _say("  speak now (Enter: ready)")
    elif isinstance(session.state, Reviewing):
        _say(ERASE_LINE + _verdict(session.state.take), is_line=True)


def _verdict(take: Take) -> str:
    for_all = "r: again, p: play, s: skip, q: quit"
    if not take.faults:
        return f"  good: {take.seconds:.1f} s, peak {take.peak_db:.0f} dB\n  Enter: keep, {for_all}"
    return "\n".join([*(f"  {fault}" for fault in take.faults), f"  Enter: again, k: keep anyway, {for_all}"])


def _show_level(state: State, rate: int) -> None:
    """Draw how loud it is, while a take is recorded."""
    from edgeseq.data.record import Listening
    from edgeseq.sound.level import bar, level

    if isinstance(state, Listening):
        newest = level(state.heard[-round(2 * BLOCK_SECONDS * rate) :])
        _say(f"{ERASE_LINE}  {bar(newest.peak_db, BAR_COLUMNS)}", is_line=False)


def _play_if_asked(state: State, key: str, rate: int) -> None:
    from edgeseq.data.record import Reviewing
    from edgeseq.sound.playback import play

    if key == PLAY and isinstance(state, Reviewing):
        try:
            play(state.take.samples, rate)
        except DeviceError as fault:
            _report(str(fault))


def _report(line: str) -> None:
    _say(f"{ERASE_LINE}edgeseq: {line}")


def _say(line: str, is_line: bool = True) -> None:
    typer.echo(line, err=True, nl=is_line)


class _Keys:
    """Keys of a terminal, one at a time."""

    def pressed(self) -> str:
        """Give the next key, '' if none was pressed; a terminal that has gone means to quit."""
        if not select.select([sys.stdin], [], [], 0)[0]:
            return ""
        key = os.read(sys.stdin.fileno(), 1).decode("ascii", errors="replace").lower()
        return {"": "q", "\x04": "q", "\r": "\n", " ": "\n"}.get(key, key)


@contextmanager
def _keys() -> Iterator[_Keys]:
    """Take keys as they are pressed, without Enter and unseen. Raises UsageError where there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("recording is steered by keys: standard input must be a terminal.")
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _Keys()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
