"""Speech synthesizers that a small YAML file describes: any program that writes a WAV file can speak.

    name: piper
    licence: MIT                       # of the voices that do not say otherwise
    command: [piper, --model, "voices/{voice}.onnx", --length_scale, "{slowness:.2f}", --output_file, "{file}"]
    stdin: "{text}"
    voices: [en_US-lessac-medium, {name: en_GB-alan-low, licence: CC-BY-4.0}]

PLACEHOLDERS says what is put in. Where neither command nor standard input names a pitch or a speed, the voices keep their own.
"""

from __future__ import annotations

import html
import shutil
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq.data.engines import ENGINES, Engine, SynthesisRequest, Voice, run_program
from edgeseq.errors import UsageError
from edgeseq.untrusted import parse_yaml

PLACEHOLDERS = {
    "text": "what is said",
    "xml_text": "the same for SSML and the like: & and < escaped",
    "file": "the WAV file to write",
    "voice": "the voice's name",
    "pitch": "the pitch: a factor, times own_pitch",
    "speed": "the speed: a factor, times own_speed",
    "slowness": "one over the factor of speed",
}

KEYS = ("name", "licence", "command", "stdin", "voices", "own_pitch", "own_speed", "batch")


@dataclass(frozen=True)
class EngineOfFile:
    """A program that says one text at a time."""

    name: str
    licence: str
    command: tuple[str, ...]
    """the program and its arguments, with placeholders"""
    stdin: str
    """what it is given on standard input, with placeholders"""
    known: tuple[Voice, ...]
    own_pitch: float = 1.0
    """what the program calls the voice's own pitch, such as 50"""
    own_speed: float = 1.0
    """what it calls the voice's own speed, such as 175"""
    batch: int = 32

    def voices(self) -> tuple[Voice, ...]:
        """List the voices of the file; none where the program is not installed."""
        return self.known if shutil.which(self.command[0]) else ()

    def speak(self, requests: Sequence[SynthesisRequest], files: Sequence[Path], stop: Callable[[], bool]) -> None:
        """Run the program once a request."""
        for request, file in zip(requests, files, strict=True):
            put_in = self._values(request, file)
            run_program([part.format_map(put_in) for part in self.command], [file], stop, self.stdin.format_map(put_in))

    def _values(self, request: SynthesisRequest, file: Path) -> dict[str, str | float]:
        return {
            "text": request.text,
            "xml_text": html.escape(request.text, quote=False),
            "file": str(file),
            "voice": request.voice.name,
            "pitch": self.own_pitch * request.pitch,
            "speed": self.own_speed * request.speed,
            "slowness": 1 / request.speed,
        }


def engines_with(paths: Sequence[Path]) -> tuple[Engine, ...]:
    """List the engines of files, then those that edgeseq knows. Raises UsageError for faults, and for names that are taken."""
    engines: list[Engine] = []
    for path in paths:
        engine = read_engine(path)
        if engine.name in {known.name for known in (*ENGINES, *engines)}:
            raise UsageError(f"{path}: there is another synthesizer called {engine.name!r}. Choose another 'name'.")
        engines.append(engine)
    return (*engines, *ENGINES)


def read_engine(path: Path) -> EngineOfFile:
    """Read a synthesizer's file. Raises UsageError that lists all its faults."""
    try:
        entry, _ = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path}: cannot be read as the description of a synthesizer ({fault}).") from fault
    if not isinstance(entry, dict):
        raise UsageError(f"{path}: wanted are the keys {', '.join(KEYS)}; this file holds {type(entry).__name__}.")
    if faults := list(_faults(entry)):
        raise UsageError("\n".join([f"{path}: describes no synthesizer:", *(f"  {fault}" for fault in faults)]))
    command, stdin = tuple(entry["command"]), entry.get("stdin", "")
    used = {name for part in (*command, stdin) for name in placeholders(part)}
    pitched, paced = "pitch" in used, bool({"speed", "slowness"} & used)
    named: list[dict[str, str]] = [voice if isinstance(voice, dict) else {"name": voice} for voice in entry["voices"]]
    voices = tuple(Voice(entry["name"], v["name"], v.get("licence") or entry["licence"], pitched, paced) for v in named)
    numbers = {key: entry[key] for key in ("own_pitch", "own_speed", "batch") if key in entry}
    return EngineOfFile(entry["name"], entry["licence"], command, stdin, voices, **numbers)


def _faults(entry: dict[str, Any]) -> Iterator[str]:
    for key in entry:
        if key not in KEYS:
            yield f"{key!r} is not a key; known are {', '.join(KEYS)}"
    for key in ("name", "licence"):
        if not is_text(entry.get(key)):
            yield f"{key!r}: a text is wanted, not {entry.get(key)!r}"
    if "/" in str(entry.get("name")):
        yield "'name' holds a slash, which parts synthesizer and voice"
    command, stdin = entry.get("command"), entry.get("stdin", "")
    if not isinstance(command, list) or not command or not all(map(is_text, command)):
        yield f"'command': a list of texts is wanted, the program first, not {command!r}"
    elif not isinstance(stdin, str):
        yield f"'stdin': a text is wanted, not {stdin!r}"
    else:
        yield from _template_faults([*command, stdin])
    yield from _voice_faults(entry.get("voices"))
    for key in ("own_pitch", "own_speed", "batch"):
        value = entry.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int if key == "batch" else int | float) or value <= 0:
            yield f"{key!r}: a number above 0 is wanted, not {value!r}"


def _template_faults(templates: Sequence[str]) -> Iterator[str]:
    used = set()
    for template in templates:
        try:
            names = placeholders(template)
            template.format_map(dict.fromkeys(PLACEHOLDERS, 1.0) if set(names) <= {*PLACEHOLDERS} else {})
        except (ValueError, KeyError, IndexError, AttributeError):
            yield f"{template!r} cannot be filled in; placeholders: " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        else:
            used |= set(names)
    for needed, others in (("text", {"text", "xml_text"}), ("file", {"file"})):
        if not others & used:
            yield f"{{{needed}}} ({PLACEHOLDERS[needed]}) stands neither in 'command' nor in 'stdin'"


def _voice_faults(voices: Any) -> Iterator[str]:
    if not isinstance(voices, list) or not voices:
        yield f"'voices': a list of names is wanted, not {voices!r}"
        return
    for voice in voices:
        named = voice if isinstance(voice, dict) else {"name": voice}
        if not (set(named) <= {"name", "licence"} and is_text(named.get("name")) and is_text(named.get("licence", "x"))):
            yield f"'voices': a name, or {{name: ..., licence: ...}} is wanted, not {voice!r}"


def is_text(value: Any) -> bool:
    """Whether a value of a YAML file is a text that says something."""
    return isinstance(value, str) and bool(value.strip())


def placeholders(template: str) -> list[str]:
    """List the names in braces; raises ValueError for braces that do not match."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
