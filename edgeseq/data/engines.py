"""Speech synthesizers as programs: espeak-ng, flite, festival; `engine_file` reads descriptions of others.

Pitch and speed are factors of the voice's own (1.0: as it is), so that they mean the same for each engine.
Nothing is copied from these programs; they are run where they are installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Protocol

from edgeseq.errors import UsageError

INSTALL = "sudo apt install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"

SECONDS_TO_SPEAK = 60.0
"""Longest that one run of a program may take before it is taken for stuck."""

LOOK_SECONDS = 0.2
"""While a program runs, it is asked so often whether all is to end."""


@dataclass(frozen=True)
class Voice:
    """One voice of one engine."""

    engine: str
    name: str
    licence: str
    """SPDX identifier of the program and its voice data"""
    pitched: bool = True
    """whether its pitch can be changed"""
    paced: bool = True
    """whether its speed can be changed"""

    @property
    def speaker(self) -> str:
        """Engine and voice, as manifests name who spoke: `flite/rms`."""
        return f"{self.engine}/{self.name}"


@dataclass(frozen=True)
class SynthesisRequest:
    """What to say and how."""

    text: str
    voice: Voice
    pitch: float
    """factor of the voice's own pitch"""
    speed: float
    """factor of the voice's own speed"""


class Engine(Protocol):
    """A program that speaks."""

    @property
    def name(self) -> str:
        """As `--engines` names it."""

    @property
    def batch(self) -> int:
        """Requests that one call of `speak` should be given: more where the program is slow to start."""

    def voices(self) -> tuple[Voice, ...]:
        """List the English voices, always in the same order; empty when the program is not installed."""

    def speak(self, requests: Sequence[SynthesisRequest], files: Sequence[Path], stop: Callable[[], bool]) -> None:
        """Write one WAV file a request; a file that is missing afterwards was not spoken.

        `stop` is asked now and then; when it says so, the program that speaks is ended.
        """


class EspeakNg:
    """espeak-ng: each of its English accents with each of its voice variants (`en-us+f3`)."""

    name = "espeak-ng"
    licence = "GPL-3.0-or-later"
    batch = 32

    def voices(self) -> tuple[Voice, ...]:
        """List accents times variants; mbrola's voices (mb/*) need data of their own and are left out."""
        if not shutil.which(self.name):
            return ()
        english, variant = (_output(self.name, f"--voices={kind}") for kind in ("en", "variant"))
        accents = re.findall(r"^ *\d+ +(\S+) .*? gmw/", english, flags=re.MULTILINE)
        variants = re.findall(r"!v/(.+?)(?:  .*)?$", variant, flags=re.MULTILINE)
        names = [f"{a}+{v}" if v else a for a in sorted(set(accents)) for v in ["", *sorted(set(variants))]]
        return tuple(Voice(self.name, name, self.licence) for name in names)

    def speak(self, requests: Sequence[SynthesisRequest], files: Sequence[Path], stop: Callable[[], bool]) -> None:
        """Run espeak-ng once a request (it starts in milliseconds)."""
        for request, file in zip(requests, files, strict=True):
            # Measured on f3 and m3: 45 points of -p are about 0.8 octaves; 175 words a minute is the default.
            pitch = min(99, max(0, round(50 + 55 * log2(request.pitch))))
            speed = max(80, round(175 * request.speed))
            manner = ["-v", request.voice.name, "-p", str(pitch), "-s", str(speed)]
            run_program([self.name, "-z", *manner, "-w", str(file), "--stdin"], [file], stop, request.text)


class Flite:
    """flite, with the voices compiled into it (kal16 rather than the 8 kHz kal)."""

    name = "flite"
    licence = "MIT-Festival"
    batch = 32
    own_pitch = {"kal": 105.0, "kal16": 105.0, "awb": 131.0, "rms": 100.0, "slt": 176.0}  # noqa: RUF012
    """Hz of `int_f0_target_mean` at which a voice speaks as it does by default, measured"""

    def voices(self) -> tuple[Voice, ...]:
        """List the general voices; awb_time only tells the time."""
        if not shutil.which(self.name):
            return ()
        names = set(_output(self.name, "-lv").partition(":")[2].split()) & set(self.own_pitch)
        if "kal16" in names:
            names.discard("kal")
        return tuple(Voice(self.name, name, self.licence, pitched=name != "rms") for name in sorted(names))

    def speak(self, requests: Sequence[SynthesisRequest], files: Sequence[Path], stop: Callable[[], bool]) -> None:
        """Run flite once a request (it starts in milliseconds)."""
        for request, file in zip(requests, files, strict=True):
            stretch = f"duration_stretch={1 / request.speed:.3f}"
            command = [self.name, "-voice", request.voice.name, "--setf", stretch]
            if request.pitch != 1.0:
                mean = self.own_pitch[request.voice.name] * request.pitch
                command += ["--setf", f"int_f0_target_mean={mean:.1f}"]
            run_program([*command, "-t", request.text, "-o", str(file)], [file], stop)


class Festival:
    """festival, many requests to a process, since its start costs half a second."""

    name = "festival"
    licence = "MIT-Festival"
    batch = 100
    known = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
    unpitched = ("cmu_us_slt_arctic_hts",)

    def voices(self) -> tuple[Voice, ...]:
        """List those of the known voices that are installed."""
        if not shutil.which(self.name):
            return ()
        listed = _output(self.name, "-b", "(print (voice.list))")
        installed = set(re.findall(r"[\w]+", listed))
        names = [name for name in self.known if name in installed]
        return tuple(Voice(self.name, name, self.licence, pitched=name not in self.unpitched) for name in names)

    def speak(self, requests: Sequence[SynthesisRequest], files: Sequence[Path], stop: Callable[[], bool]) -> None:
        """Run festival once over a Scheme script of all requests; one that fails does not stop the others."""
        script = files[0].with_suffix(".scm")
        said = "".join(self._say(request, file) for request, file in zip(requests, files, strict=True))
        script.write_text(_FESTIVAL_BEGIN + said, encoding="utf-8")
        run_program([self.name, "-b", str(script)], files, stop, seconds=SECONDS_TO_SPEAK + 5.0 * len(requests))

    def _say(self, request: SynthesisRequest, file: Path) -> str:
        say = f"(say {_scheme_string(request.text)} {_scheme_string(str(file))})"
        pitch, speed = f"{request.pitch:.3f}", f"{request.speed:.3f}"
        manner = f"(voice_{request.voice.name}) (manner {pitch} {speed})"
        return f"{manner}\n(unwind-protect {say} (print 'failed))\n"


_FESTIVAL_BEGIN = """
(define (lr_pitch params pitch)
  (mapcar
    (lambda (p) (if (string-matches (car p) "target_f0_.*") (list (car p) (* pitch (cadr p))) p))
    params))
(define (manner pitch speed)
  (if (string-equal (Parameter.get 'Synth_Method) "HTS")
      (set! hts_engine_params (append hts_engine_params (list (list "-r" speed))))
      (begin
        (set! int_lr_params (lr_pitch int_lr_params pitch))
        (Parameter.set 'Duration_Stretch (/ 1 speed)))))
(define (say text file) (utt.save.wave (utt.synth (eval (list 'Utterance 'Text text))) file 'riff))
"""

ENGINES: tuple[Engine, ...] = (EspeakNg(), Flite(), Festival())


def find_engine(name: str, engines: Sequence[Engine]) -> Engine:
    """Look an engine up by name; raises UsageError for an unknown one."""
    for known in engines:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in engines)
    raise UsageError(f"{name!r} is not a speech synthesizer that edgeseq knows. Choose from: {names}.")


def _scheme_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def run_program(
    command: Sequence[str],
    files: Sequence[Path],
    stop: Callable[[], bool],
    text: str = "",
    seconds: float = SECONDS_TO_SPEAK,
) -> None:
    """Run a synthesizer that writes `files`; if it fails, hangs or is to stop, none is left, since it may be half spoken."""
    deadline = time.monotonic() + seconds
    # In a session of its own, so that Ctrl-C does not cut a word short, and what it has started ends with it.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        given: bytes | None = text.encode()
        while process.returncode is None:
            try:
                process.communicate(given, timeout=LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                given = None  # it has it already
                if stop() or time.monotonic() > deadline:
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        for file in files:
            file.unlink(missing_ok=True)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=SECONDS_TO_SPEAK, check=False)
    return done.stdout.decode(errors="replace")
