"""The recording program from outside: started, listened to, killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeseq.errors import DeviceError
from edgeseq.sound.capture.devices import Device
from edgeseq.sound.capture.recorder import CaptureRequest
from edgeseq.sound.capture.ring import shared_memory

LIST_SECONDS = 10.0
"""A sound system that takes longer to say what there is hangs."""
KILL_SECONDS = 1.0
"""A killed process that is still there waits inside the kernel; it is left alone."""
PIECE_BYTES = 65_536

PROGRAM = "from edgeseq.sound.capture.recorder import main; main()"

Message = dict[str, Any]


class RecorderProcess:
    """A running recorder with the ring it writes into and the pipe it speaks through."""

    def __init__(self, request: CaptureRequest) -> None:
        """Start it."""
        self.ring = shared_memory()
        self._messages, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*_command(), json.dumps(asdict(request)), str(self.ring), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # ALSA and PortAudio write there whatever they think
                pass_fds=(self.ring, theirs),
                start_new_session=True,  # Ctrl-C is not for it
                env=_environment(),
            )
        finally:
            os.close(theirs)
        self._rest = b""
        self.has_ended = False
        """whether it says nothing more"""
        self._is_killed = False

    @property
    def pid(self) -> int:
        """For the process."""
        return self._process.pid

    def read(self, seconds: float) -> list[Message]:
        """Wait for messages, at most so long; blocks are `{"type": "blocks", "newest": number}`."""
        if self.has_ended:
            time.sleep(seconds)
            return []
        if not select.select([self._messages], [], [], seconds)[0]:
            return []
        piece = os.read(self._messages, PIECE_BYTES)
        self.has_ended = not piece
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [_parse(line) for line in lines]

    def kill(self) -> None:
        """End it at once, whatever it hangs in, and let go of its memory; a second time does nothing."""
        if self._is_killed:
            return
        self._is_killed = self.has_ended = True
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self._messages)
        os.close(self.ring)


def list_microphones() -> list[Device]:
    """List what sound can be taken from. Raises DeviceError when there is nothing, no PortAudio, or no answer."""
    try:
        done = subprocess.run(
            [*_command(), "list"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIST_SECONDS,
            env=_environment(),
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as fault:
        raise DeviceError(
            f"the sound system has not said within {LIST_SECONDS:.0f} s what microphones there are.\n"
            "  Restart the sound server: systemctl --user restart pipewire wireplumber, or pulseaudio -k"
        ) from fault
    except ValueError as fault:
        raise DeviceError(
            f"PortAudio ended with exit code {done.returncode} while it looked for microphones.\n"
            "  Try `python -m sounddevice`; the sound system, or PortAudio itself, is broken."
        ) from fault
    if "text" in answer:
        raise DeviceError(answer["text"])
    return [Device(**entry) for entry in answer["devices"]]


def _parse(line: bytes) -> Message:
    if line.startswith(b"b "):
        return {"type": "blocks", "newest": int(line[2:])}
    return json.loads(line)


def _command() -> list[str]:
    return [sys.executable, "-c", PROGRAM]


def _environment() -> dict[str, str]:
    """Let the child find this very package, installed or not."""
    package = str(Path(__file__).parents[3])
    found = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{found}" if found else package}
