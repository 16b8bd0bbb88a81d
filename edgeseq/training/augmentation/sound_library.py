"""Recordings that augmentation draws from: noises, impulse responses; a folder of sound files, or a manifest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from edgeseq.data.manifest import Recording, find_data, places, read_manifest
from edgeseq.data.stored_sound import whole_file
from edgeseq.errors import AudioError, ManifestError
from edgeseq.sound.opening import open_sound
from edgeseq.training.augmentation.level import Waveform, rms
from edgeseq.training.clips import ClipReader, read_clip

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")

ONSET_SECONDS = 0.001
"""Kept of a response before its largest sample, the direct sound: a row must not move against its text."""

LONGEST_RESPONSE_SECONDS = 2.0
SHORT_SECONDS = 60.0
"""Noises up to this length are decoded whole, once."""
CACHED_RESPONSES = 256


def find_sounds(name: str) -> list[Recording]:
    """List the sounds of a manifest (`.jsonl`) or a folder, looked for as recipes' manifests are; always in the same order.

    Raises ManifestError where there is none, or a file is not sound.
    """
    if name.endswith(".jsonl"):
        return read_manifest(find_data(name), allow_empty_text=True)
    looked = list(places(Path(name)))
    folder = next((place for place in looked if place.is_dir()), None)
    if folder is None:
        listed = "\n".join(f"    {place}" for place in looked)
        raise ManifestError(f"{name}: no such folder of sounds, and no manifest (.jsonl). Looked for:\n{listed}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ManifestError(f"{folder}: holds no sound. Wanted: files that end in {', '.join(SUFFIXES)}.")
    return [Recording(path, _seconds(path), "") for path in files]


def _seconds(path: Path) -> float:
    try:
        return whole_file(path).seconds
    except AudioError as fault:
        raise _unreadable(path, str(fault).splitlines()[0].removeprefix(f"{path}: ")) from fault


def _unreadable(path: Path, why: str) -> ManifestError:
    return ManifestError(f"{path}: cannot be read as sound ({why}).\n  Take it out of the folder or manifest, or replace it.")


class SoundLibrary:
    """Noises at one rate; short ones are kept once they are read, of others only the stretches that are drawn are read."""

    def __init__(self, name: str, sample_rate: int) -> None:
        """List the sounds of a folder or manifest; reads headers only."""
        self.sounds, self.reader = find_sounds(name), ClipReader(sample_rate)

    def draw(self, n_samples: int, rng: np.random.Generator) -> tuple[Waveform, str]:
        """Draw stretches of recordings, each at an RMS of 1, until `n_samples` are full; and their names and places."""
        sample_rate = self.reader.sample_rate
        pieces: list[Waveform] = []
        names: list[str] = []
        missing = n_samples
        while missing > 0:
            sound = self.sounds[int(rng.integers(len(self.sounds)))]
            seconds = min(sound.duration, missing / sample_rate)
            start = sound.offset + rng.uniform(0, sound.duration - seconds)
            piece = self._read(sound, start, seconds)[:missing]
            piece = np.pad(piece, (0, max(1, round(seconds * sample_rate)) - len(piece))) if len(piece) < missing else piece
            pieces.append(piece / np.float32(rms(piece)))
            names.append(f"{sound.path.name} from {start:.2f} s")
            missing -= len(piece)
        return np.concatenate(pieces)[:n_samples], ", ".join(names)

    def _read(self, sound: Recording, start: float, seconds: float) -> Waveform:
        """Read `seconds` of a sound's file from `start` on."""
        if sound.duration > SHORT_SECONDS:
            return read_clip(Recording(sound.path, seconds, "", start), self.reader.sample_rate)
        first = round((start - sound.offset) * self.reader.sample_rate)
        return self.reader.read(sound)[first : first + round(seconds * self.reader.sample_rate)]


class ResponseLibrary:
    """Measured impulse responses, at one rate."""

    def __init__(self, name: str, sample_rate: int) -> None:
        """List the responses of a folder or manifest; reads headers only."""
        self.responses, self.sample_rate = find_sounds(name), sample_rate

    def draw(self, rng: np.random.Generator) -> tuple[Waveform, str]:
        """Draw a response, and its file's name."""
        path = self.responses[int(rng.integers(len(self.responses)))].path
        return _read_response(path, self.sample_rate), path.name


@lru_cache(CACHED_RESPONSES)
def _read_response(path: Path, sample_rate: int) -> Waveform:
    """Read a response, of an array's microphones the first."""
    try:
        with open_sound(path) as sound:
            samples, rate = sound.read(dtype="float32", always_2d=True), sound.samplerate
    except (AudioError, soundfile.SoundFileError) as fault:
        raise _unreadable(path, str(fault)) from fault
    return from_direct_sound(soxr.resample(samples[:, 0], rate, sample_rate), sample_rate, str(path))


def from_direct_sound(response: Waveform, sample_rate: int, name: str) -> Waveform:
    """Cut what comes before the direct sound and after 60 dB of decay; scale to an energy of 1.

    So speech keeps its level, and its place against the text.
    """
    energy = float(np.sum(np.square(response)))
    if not np.isfinite(energy) or energy <= 0:
        raise ManifestError(f"{name}: is not an impulse response: silent, or holds values that are not numbers. Remove it.")
    first = max(0, int(np.abs(response).argmax()) - round(ONSET_SECONDS * sample_rate))
    still_to_come = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]  # Schroeder 1965
    last = min(int(np.sum(still_to_come > 1e-6 * energy)), first + round(LONGEST_RESPONSE_SECONDS * sample_rate))
    cut = response[first:last]
    return np.asarray(cut / np.sqrt(np.sum(np.square(cut))), dtype=np.float32)
