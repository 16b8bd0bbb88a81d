"""One's own voice, prompt by prompt: a session that hears blocks of sound and keys, and keeps a manifest.

Every take that is kept is on disk, and in the manifest, before the next prompt is shown; prompts that the manifest lists
already are not asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeseq.data.clips import write_clip
from edgeseq.data.manifest import Recording, read_manifest, write_manifest
from edgeseq.data.synth import slug
from edgeseq.data.take import Take, find_speech, judge
from edgeseq.errors import UsageError
from edgeseq.sound.blocks import EMPTY, Floats, Lost

MANIFEST = "manifest.jsonl"
PRE_ROLL_SECONDS = 0.4
"""kept from before the key, for those who speak at once, and to know the room"""
QUIET_SECONDS = 1.2
"""after speech, and a take ends by itself"""
NOTHING_SECONDS = 6.0
"""without any speech, and it ends too"""
LONGEST_SECONDS = 40.0

START, AGAIN, KEEP, SKIP, BACK, QUIT = "\n", "r", "k", "s", "b", "q"
"""keys; START also ends a take, and takes the default after one"""


@dataclass(frozen=True)
class Waiting:
    """A prompt is shown; nothing is recorded."""

    recent: Floats = field(default_factory=lambda: EMPTY)
    """the newest PRE_ROLL_SECONDS"""


@dataclass(frozen=True)
class Listening:
    """A take is being recorded."""

    heard: Floats


@dataclass(frozen=True)
class Reviewing:
    """A take was recorded; keep it?"""

    take: Take


@dataclass(frozen=True)
class Over:
    """All prompts are done, or it was enough."""


State = Waiting | Listening | Reviewing | Over


@dataclass(frozen=True)
class Prompt:
    """What is to be said, for the `number`th time (from 0)."""

    text: str
    number: int

    @property
    def file_name(self) -> str:
        """The name of its recording, in the speaker's folder."""
        return f"{slug(self.text)}-{self.number}.flac"


class Session:
    """Asks one speaker for all prompts; `step` moves it on."""

    def __init__(
        self, texts: Sequence[str], folder: Path, speaker: str, sample_rate: int, takes: int = 1, microphone: str = ""
    ) -> None:
        """Begin, or continue after what the manifest of `folder` says is done. Raises UsageError, ManifestError."""
        if not re.fullmatch(r"[\w.-]+", speaker) or speaker.startswith("."):
            raise UsageError(f"{speaker!r} is not a speaker's name. Wanted: letters, digits, '-', '_' and '.', such as anna-1.")
        self.folder, self.speaker, self.sample_rate, self.microphone = folder, speaker, sample_rate, microphone
        manifest = folder / MANIFEST
        self._recordings = read_manifest(manifest, check_files=False) if manifest.exists() else []
        self.prompts = [Prompt(text, number) for number in range(takes) for text in texts]
        done = {r.path.name for r in self._recordings if r.speaker == speaker and r.path.is_file()}
        self._open = [prompt for prompt in self.prompts if prompt.file_name not in done]
        self._at = 0
        self.kept = self.skipped = 0
        self.state: State = Waiting() if self._open else Over()

    @property
    def manifest(self) -> Path:
        """Where recordings are listed."""
        return self.folder / MANIFEST

    @property
    def prompt(self) -> Prompt:
        """The one that is asked for."""
        return self._open[self._at]

    @property
    def place(self) -> tuple[int, int]:
        """Number of the prompt, from 1, and how many there are, with those done before."""
        return len(self.prompts) - len(self._open) + self._at + 1, len(self.prompts)

    @property
    def n_done_before(self) -> int:
        """Prompts that were recorded in an earlier session."""
        return len(self.prompts) - len(self._open)

    def step(self, block: Floats | Lost, key: str = "") -> None:
        """Hear a block of sound, mono at `sample_rate`, then a key, if one was pressed.

        Raises AudioError when a take cannot be written; it is still there to be kept again.
        """
        self.state = self._hear(block)
        if key == QUIT:
            self.state = Over()
        elif isinstance(self.state, Waiting):
            self._choose_in_waiting(self.state, key)
        elif isinstance(self.state, Listening) and key == START:
            self.state = Reviewing(judge(self.state.heard, self.sample_rate))
        elif isinstance(self.state, Reviewing):
            self._choose_in_review(self.state.take, key)

    def _hear(self, block: Floats | Lost) -> State:
        if isinstance(block, Lost):
            return Waiting() if isinstance(self.state, Waiting | Listening) else self.state
        if isinstance(self.state, Waiting):
            n_kept = round(PRE_ROLL_SECONDS * self.sample_rate)
            return Waiting(np.concatenate([self.state.recent, block])[-n_kept:])
        if isinstance(self.state, Listening) and len(block):
            heard = np.concatenate([self.state.heard, block])
            return Reviewing(judge(heard, self.sample_rate)) if self._has_ended(heard) else Listening(heard)
        return self.state

    def _has_ended(self, heard: Floats) -> bool:
        seconds = len(heard) / self.sample_rate
        speech = find_speech(heard, self.sample_rate)
        if speech is None:
            return seconds > PRE_ROLL_SECONDS + NOTHING_SECONDS
        return seconds - speech[1] > QUIET_SECONDS or seconds > LONGEST_SECONDS

    def _choose_in_waiting(self, state: Waiting, key: str) -> None:
        if key == START:
            self.state = Listening(state.recent)
        elif key == SKIP:
            self.skipped += 1
            self._go_to(self._at + 1)
        elif key == BACK and self._at > 0:
            self._go_to(self._at - 1)

    def _choose_in_review(self, take: Take, key: str) -> None:
        if key == KEEP or (key == START and not take.faults):
            self._keep(take)
            self._go_to(self._at + 1)
        elif key in (AGAIN, START):
            self.state = Listening(EMPTY)
        elif key == SKIP:
            self.skipped += 1
            self._go_to(self._at + 1)

    def _go_to(self, place: int) -> None:
        self._at = place
        self.state = Waiting() if place < len(self._open) else Over()

    def _keep(self, take: Take) -> None:
        """Write a take and list it, in the place of an older one of the same prompt."""
        path = self.folder / self.speaker / self.prompt.file_name
        write_clip(path, take.samples, self.sample_rate)
        about = {"microphone": self.microphone, "peak_db": take.peak_db, "above_room_db": round(take.above_room_db, 1)}
        line = Recording(path, take.seconds, self.prompt.text, speaker=self.speaker, extra=about)
        self._recordings = [r for r in self._recordings if r.path != path] + [line]
        write_manifest(self.manifest, self._recordings)
        self.kept += 1
