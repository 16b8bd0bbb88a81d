"""Compares recognizers on the same recordings: WER, real-time factor, memory, size, words written for noise.

    python -m benchmarks.recognizers --manifest commonvoice/dev.jsonl --limit 60 --peers edgeseq,pocketsphinx
    python -m benchmarks.recognizers --manifest mine.jsonl --peers edgeseq,whisper-base --python peers/bin/python

Each recognizer is a process of its own, on one core. A second of silence comes first and counts as loading. All texts are
compared in one form: lower case, no punctuation, numbers spelled. With --answers FILE the answers of other recognizers are
kept, and only edgeseq runs again. --limit takes that many clips of each manifest, spread over its people: the first clip of
each, then the second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path

from benchmarks.recognizer_answers import Answers, Clip, Measured, Progress, measure
from benchmarks.recognizer_figures import Row, by_part, cells, row_of, to_markdown, to_text
from benchmarks.recognizer_peers import EDGESEQ, Peer, Places, edgeseq_peer, find_peer, known_peers, why_missing
from edgeseq.data.folder import SOUND, FolderItem
from edgeseq.data.folder import measure as measure_files
from edgeseq.data.manifest import Recording, find_data, read_manifest
from edgeseq.errors import EdgeseqError, TeacherError, UsageError

KEEP_EVERY = 10
"""Answers after which the file of them is written."""


def spread(recordings: Sequence[Recording], most: int | None) -> list[Recording]:
    """Take recordings of as many people as there are: one of each, then a second one of each, in the manifest's order."""
    people: dict[str, list[Recording]] = defaultdict(list)
    for number, recording in enumerate(recordings):
        people[recording.speaker or f"#{number}"].append(recording)
    turns = zip_longest(*people.values())
    return list(islice((one for turn in turns for one in turn if one is not None), most))


def clips_of(manifest: Path, most: int | None) -> list[Clip]:
    """List what is heard of a manifest."""
    found = find_data(manifest)
    part = f"{found.resolve().parent.name}/{found.stem}"
    return [Clip(part, recording) for recording in spread(read_manifest(found), most)]


def noise_clips(folder: Path, most: int | None) -> list[Clip]:
    """List the sound files in a folder. Raises UsageError where there are none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND)
    recordings = list(measure_files([FolderItem(path, "") for path in files], []))
    if not recordings:
        raise UsageError(f"{folder}: holds no sound files. --noise wants a folder of recordings in which nobody speaks.")
    return [Clip(folder.resolve().name, recording) for recording in recordings[:most]]


def heard_by(peer: Peer, clips: Sequence[Clip], answers: Answers) -> Measured:
    """Give what a peer answers, of edgeseq afresh, and keep it."""
    known = Measured(peer.asked()) if peer.name.startswith(EDGESEQ) else answers.of(peer)
    measured = known
    try:
        for n, measured in enumerate(measure(peer, clips, known, _progress(peer.name)), start=1):
            if n % KEEP_EVERY == 0:
                answers.keep(peer, measured)
    finally:
        if measured.answers:
            answers.keep(peer, measured)
    return measured


def _progress(name: str) -> Progress:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            print(f"\r{name}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def compare(
    peers: Sequence[Peer], speech: Sequence[Clip], noise: Sequence[Clip], answers: Answers
) -> tuple[list[Row], list[str]]:
    """Let every peer hear everything; gives their rows, and why others cannot be started."""
    rows, absent = [], []
    for peer in peers:
        why = why_missing(peer)
        if not why:
            try:
                rows.append(row_of(peer, heard_by(peer, [*speech, *noise], answers), speech, noise))
                continue
            except TeacherError as fault:
                why = str(fault)
        absent.append(f"{peer.name} is left out: {why}\n  This brings it: {peer.teacher.install}")
    return rows, absent


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = _parser().parse_args(arguments)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    peers = [peer for name in asked.peers.split(",") for peer in _peers_of(name, asked)]
    speech = [clip for manifest in asked.manifest for clip in clips_of(manifest, asked.limit)]
    noise = noise_clips(asked.noise, asked.noise_limit) if asked.noise else []
    rows, absent = compare(peers, speech, noise, Answers(asked.answers))
    show(rows, absent, speech, asked)


def _peers_of(name: str, asked: argparse.Namespace) -> list[Peer]:
    if name == EDGESEQ:
        return [edgeseq_peer(model, asked.phrases) for model in asked.model]
    return [find_peer(name, Places(asked.python, asked.models))]


def show(rows: Sequence[Row], absent: Sequence[str], speech: Sequence[Clip], asked: argparse.Namespace) -> None:
    """Print the figures as they are asked for. Raises EdgeseqError where there are none."""
    for line in absent:
        print(line, file=sys.stderr)
    if not rows:
        raise EdgeseqError("No recognizer could be started.")
    if asked.json:
        print(json.dumps({"rows": [row.to_dict() for row in rows], "absent": list(absent)}, indent=1))
        return
    table = cells(rows)
    print(to_markdown(table) if asked.markdown else to_text(table))
    for clips, score in zip(by_part(speech), rows[0].scores, strict=True):
        minutes = sum(clip.recording.duration for clip in clips) / 60
        print(
            f"\n{score.part}: {score.clips} clips of {score.people} people, {score.words:,} words, {minutes:.1f} minutes",
            end="",
        )
    print("".join(f"\n{when}, {where}" for when, where in sorted({(row.date, row.processor) for row in rows})))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recognizers", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--manifest", type=Path, nargs="+", required=True, help="recordings whose words are known")
    parser.add_argument("--limit", type=int, help="clips of each manifest, spread over its people")
    parser.add_argument("--noise", type=Path, help="a folder of recordings in which nobody speaks")
    parser.add_argument("--noise-limit", type=int, help="files of it")
    parser.add_argument("--peers", default=EDGESEQ, help=f"names or files, by commas: {', '.join(known_peers())}")
    parser.add_argument("--model", nargs="+", default=["english-small"], help="of edgeseq; default: %(default)s")
    parser.add_argument("--phrases", type=Path, help="edgeseq understands these phrases alone")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python that has the peers' packages")
    parser.add_argument("--models", type=Path, default=Path("peers"), help="folder of models that no package holds")
    parser.add_argument("--answers", type=Path, help="a file that keeps what others answered")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        main()
    except EdgeseqError as fault:
        sys.exit(str(fault))
