"""Memory of real trainings on corpora of 10 and 1,000 hours, to see whether it grows with the corpus.

    python -m benchmarks.training_memory [HOURS ...]

The corpora are simulated: manifests of that many hours, each line with a text of its own, over some hundred files that are
really read. `edgeseq train` trains on each in a process of its own, with one worker that makes batches. The result is the
largest memory that the system counted for each process, and the growth per recording.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import yaml

from edgeseq.errors import EdgeseqError

HOURS = (10.0, 1000.0)
RATE = 16_000
SECONDS = (2.0, 8.0)
N_FILES = 200
TEXT = "the quick brown fox jumps over a lazy dog while seven wizards mix black quartz in their vast box of gem"
STEPS = 30
POLL_SECONDS = 0.1
LIMIT_SECONDS = 3600.0


def write_corpus(folder: Path, hours: float) -> tuple[Path, int]:
    """Write sound files, and a manifest that names them again and again; returns it and its recordings."""
    random = np.random.default_rng(0)
    lengths = random.uniform(*SECONDS, size=N_FILES).round(2)
    for number, seconds in enumerate(lengths):
        soundfile.write(folder / f"{number}.flac", 0.05 * random.standard_normal(int(seconds * RATE)), RATE)
    words = TEXT.split()
    count, total = 0, 0.0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        while total < 3600 * hours:
            seconds = float(lengths[count % N_FILES])
            text = " ".join(random.choice(words, size=max(1, int(2 * seconds))))
            line = {
                "audio_filepath": f"{count % N_FILES}.flac",
                "duration": seconds,
                "text": text,
                "speaker": f"s{count % 997}",
            }
            manifest.write(json.dumps(line) + "\n")
            count, total = count + 1, total + seconds
    return folder / "train.jsonl", count


def write_recipe(folder: Path, manifest: Path) -> Path:
    """Write a recipe of two recurrent layers for 16 kHz; the first steps are easy, the others joined and augmented."""
    recipe = {
        "name": "memory",
        "language": "en",
        "license": "CC0-1.0",
        "data_statement": "noise",
        "frontend": {"sample_rate": RATE, "win_samples": 400, "hop_samples": 160, "n_mels": 40, "f_max": 7600},
        "network": {"hidden_size": 128, "num_layers": 2},
        "data": {"train": [{"manifest": str(manifest.absolute()), "easy": True}]},
        "joining": {"row_seconds": 10.0},
        "train": {"steps": STEPS, "batch_size": 16, "easy_steps": 5, "ramp_steps": 5, "checkpoint_every": STEPS},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def train(folder: Path, recipe: Path) -> dict[str, float]:
    """Train, and give the largest memory of the trainer and of its worker, 10^6 bytes. Raises EdgeseqError where it fails."""
    command = [sys.executable, "-m", "edgeseq", "train", str(recipe), "--out", str(folder / "run"), "--accelerator", "cpu"]
    largest: dict[int, float] = defaultdict(float)
    began = time.monotonic()
    with (folder / "said").open("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        while process.poll() is None:
            for number in (process.pid, *_children(process.pid)):
                largest[number] = max(largest[number], _peak_mb(number))
            if time.monotonic() - began > LIMIT_SECONDS:
                process.kill()
            time.sleep(POLL_SECONDS)
        said.seek(0)
        if process.returncode:
            raise EdgeseqError(f"edgeseq train ended with code {process.returncode}: {said.read()[-2000:]}")
    trainer = largest.pop(process.pid)
    return {"trainer": trainer, "worker": max(largest.values(), default=0.0)}


def _children(number: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []  # it has ended


def _peak_mb(number: int) -> float:
    try:
        status = Path(f"/proc/{number}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)


def _positive(text: str) -> float:
    hours = float(text)
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: hours, a number above 0, are wanted")
    return hours


def main() -> None:
    """Print a line a corpus, and the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hours", nargs="*", type=_positive, default=HOURS, help="of each manifest; default: 10 1000")
    figures: list[tuple[int, dict[str, float]]] = []
    for hours in parser.parse_args().hours:
        with tempfile.TemporaryDirectory() as name:
            manifest, count = write_corpus(Path(name), hours)
            began = time.monotonic()
            peaks = train(Path(name), write_recipe(Path(name), manifest))
        figures.append((count, peaks))
        told = ", ".join(f"{process} {peak:.0f} MB" for process, peak in peaks.items())
        print(f"{hours:8,.1f} hours, {count:9,} recordings: {told} at most ({time.monotonic() - began:.0f} s)", flush=True)
    (few, first), (many, last) = figures[0], figures[-1]
    for process in first if many > few else ():
        growth = last[process] - first[process]
        print(f"{process}: {growth:+.0f} MB, {1e6 * growth / (many - few):+.0f} bytes a recording")


if __name__ == "__main__":
    main()
