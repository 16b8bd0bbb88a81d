"""CMU AN4, the census data of 1991: spelled names, letters, numbers, dates and commands by 84 people; 16 kHz.

Lhotse has no recipe of it. Recordings are SPHERE files, which soundfile reads; copies hold WAV, FLAC or raw samples.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgeseq.data.folder import FolderItem, measure_found, read_text
from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError
from edgeseq.whole_file import write_whole

FOLDERS = {"train": "an4_clstk", "test": "an4test_clstk"}
"""The folder of each split's recordings, in wav/."""
SUFFIXES = (".sph", ".wav", ".flac", ".raw")
"""Forms of a recording, the best first."""
RAW_RATE = 16_000
LINE = re.compile(r"(?P<said>.*)\((?P<id>[^()\s-]+-(?P<speaker>[^()\s-]+)-[^()\s]+)\)\s*")
"""`<s> YES </s> (an251-fash-b)`, or without <s> and </s>."""
SPEAKER_PREFIX = "an4_"


def is_root(folder: Path) -> bool:
    """Tell whether a folder is the corpus's."""
    return (folder / "wav").is_dir() and bool(splits(folder))


def splits(folder: Path) -> list[str]:
    """List the corpus's splits; no speaker is in both."""
    return [name for name in FOLDERS if _transcripts(folder, name).is_file()]


def read(folder: Path, names: Sequence[str], made: Path, notes: list[str]) -> Iterator[tuple[str, list[Recording]]]:
    """Read splits, texts in lower case without <s>, </s> and ids; raw samples are written as WAV to `made`."""
    for name in names:
        sound = Path("wav") / FOLDERS[name]
        found = _recordings(folder / sound)
        spoken = [
            FolderItem(_readable(found.get(key, folder / sound / key), made), text, speaker)
            for key, speaker, text in _lines(_transcripts(folder, name), notes)
        ]
        yield name, measure_found(name, spoken, f"{sound}/", notes)


def _transcripts(folder: Path, split: str) -> Path:
    return folder / "etc" / f"an4_{split}.transcription"


def _recordings(folder: Path) -> dict[str, Path]:
    """Find the recordings below a folder by their ids, the best form of each."""
    paths = [path for path in folder.rglob("*") if path.suffix in SUFFIXES]
    return {path.stem: path for path in sorted(paths, key=lambda path: SUFFIXES.index(path.suffix), reverse=True)}


def _lines(transcripts: Path, notes: list[str]) -> Iterator[tuple[str, str, str]]:
    """Give each line's id, speaker and words."""
    for number, line in enumerate(read_text(transcripts).splitlines(), start=1):
        if not line.strip():
            continue
        named = LINE.fullmatch(line)
        if named is None:
            notes.append(f"{transcripts.name}: line {number} does not end in the id of a recording, such as (an251-fash-b)")
            continue
        words = [word for word in named["said"].lower().split() if not word.startswith("<")]
        yield named["id"], SPEAKER_PREFIX + named["speaker"], " ".join(words)


def _readable(path: Path, made: Path) -> Path:
    """Give a file with a header: raw samples are written as WAV to `made`, once."""
    if path.suffix != ".raw":
        return path
    import soundfile

    readable = made / f"{path.stem}.wav"
    if not readable.is_file():
        wav = io.BytesIO()
        soundfile.write(wav, _raw_samples(path), RAW_RATE, format="WAV", subtype="PCM_16")
        write_whole(readable, wav.getbuffer())
    return readable


def _raw_samples(path: Path) -> np.ndarray:
    """Read raw samples, int16 `[n_samples]`, in whichever order of bytes gives the smoother signal."""
    content = path.read_bytes()
    if not content or len(content) % 2:
        raise ManifestError(f"{path}: {len(content):,} bytes are not raw samples of 16 bits. Replace the file, or remove it.")
    little, big = (np.frombuffer(content, order) for order in ("<i2", ">i2"))
    return (little if _roughness(little) <= _roughness(big) else big).astype(np.int16)


def _roughness(samples: np.ndarray) -> float:
    """Mean step from sample to sample; speech read in the wrong order of bytes is as rough as noise."""
    return float(np.abs(np.diff(samples.astype(np.int32))).mean()) if len(samples) > 1 else 0.0
