"""Hostile files through every command: each must be read, or refused in one message, in bounded time and memory.

    python tests/hostile_commands.py                       # every command with every file, about 20 minutes
    python tests/hostile_commands.py --only transcribe,lm --seconds 20
    python tests/hostile_commands.py --also FOLDER         # files of yours, too

Every command runs in a process of its own, forked from one that has imported what is slow. It prints what went wrong:
tracebacks, exit codes that the manual does not know, signals, time, memory, and what a file made run. It ends with code 1 if
anything did.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import wave
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from attack import hostile_sounds
from hostile import LONG_NUMBER, NESTED_TEXT

ROOT = Path(__file__).parent.parent
CLIP = ROOT / "demo" / "number.flac"
MODEL = ROOT / "models" / "digits-en" / "model.int8.onnx"
WEIGHTS = ROOT / "models" / "digits-en" / "weights.safetensors"
PHRASES = ROOT / "recipes" / "phrases" / "digits.yaml"
CODES = (0, 1, 2)
MOST_MB = 900.0
"""of the command and those that it starts"""
ALIASES = "a: &a [x,x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n or ''},*a{n or ''}]\n" for n in range(40))

COMMANDS = {
    "transcribe": "transcribe F",
    "transcribe-pipe": "transcribe - < F",
    "transcribe-model": "transcribe --model F CLIP",
    "transcribe-phrases": "transcribe --phrases F CLIP",
    "transcribe-lm": "transcribe --lm F CLIP",
    "transcribe-lexicon": "transcribe --lexicon F CLIP",
    "transcribe-hotwords": "transcribe --hotwords F CLIP",
    "listen": "listen --input F",
    "detect": "detect --model F CLIP",
    "eval": "eval --manifest F --limit 3",
    "eval-noise": "eval --manifest MANIFEST --noise F --snr 10 --limit 1",
    "data-check": "data check F",
    "data-align": "data align F --out OUT",
    "data-cut": "data cut F --words one --out OUT",
    "data-import": "data import folder --from F --out OUT",
    "data-import-nemo": "data import nemo --from F --out OUT",
    "data-import-an4": "data import an4 --from F --out OUT",
    "data-label": "data label F --teacher F --out OUT",
    "data-shar": "data shar F --out OUT",
    "data-synth": "data synth --text F --per-text 1 --engines espeak-ng --list-voices",
    "data-synth-engine": "data synth --words one --engine-file F --list-voices",
    "lm-build": "lm build F --out OUT",
    "lm-compile": "lm compile F --out OUT",
    "lm-info": "lm info F",
    "lm-score": "lm score F CLIP",
    "lexicon-make": "lexicon make F --dictionary F --out OUT",
    "lexicon-guesser": "lexicon guesser F --out OUT",
    "lexicon-pack": "lexicon pack F --out OUT",
    "phrases-check": "phrases check F",
    "phrases-import": "phrases import F",
    "phrases-import-hassil": "phrases import F --from hassil",
    "phrases-import-rhino": "phrases import F --from rhino",
    "phrases-measure": "phrases measure PHRASES --manifest F",
    "explain": "explain F --out OUT.html",
    "report": "report F",
    "export": "export F --out OUT",
    "export-scores": "export WEIGHTS --scores F --measured F --out OUT",
    "prove": "prove F",
    "augment": "augment F --recipe RECIPE --out OUT",
    "bench-model": "bench --model F --seconds 1",
    "bench-audio": "bench --audio F --seconds 1",
    "models-info": "models info F",
    "models-verify": "models verify F",
    "train": "train F --check",
}
"""F is the hostile file; OUT a place to write."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: str
    file: str
    code: int
    seconds: float
    megabytes: float
    fault: str
    """what was wrong, or nothing"""
    output: str


def write_corpus(folder: Path) -> None:
    """Write hostile files of every kind that edgeseq reads."""
    for name, content in {**sounds(), **texts(), **binaries(folder)}.items():
        (folder / name).write_bytes(content)
    (folder / "folder.d").mkdir()
    for number, content in enumerate(hostile_sounds()):
        (folder / f"swelling-{number}").write_bytes(content)


def sounds() -> dict[str, bytes]:
    """Recordings whose headers lie, and what only looks like one."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, 16_000, 0, "NONE", ""))
        written.writeframes(bytes(3200))
    whole, flac = file.getvalue(), CLIP.read_bytes()

    def with_header(at: int, form: str, value: int) -> bytes:
        return whole[:at] + struct.pack(form, value) + whole[at + struct.calcsize(form) :]

    return {
        "rate-0.wav": with_header(24, "<I", 0),
        "rate-huge.wav": with_header(24, "<I", 2**32 - 1),
        "channels-0.wav": with_header(22, "<H", 0),
        "channels-65535.wav": with_header(22, "<H", 65_535),
        "bits-0.wav": with_header(34, "<H", 0),
        "bits-65535.wav": with_header(34, "<H", 65_535),
        "data-4G.wav": with_header(40, "<I", 2**32 - 1),
        "format-huge.wav": with_header(16, "<I", 2**31),
        "codec-unknown.wav": with_header(20, "<H", 0x1234),
        "header-only.wav": whole[:44],
        "cut.wav": whole[:30],
        "riff.wav": b"RIFF",
        "nan.wav": whole[:20] + struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32) + b"data" + struct.pack("<I", 4000)
        + struct.pack("<f", float("nan")) * 1000,
        "cut.flac": flac[: len(flac) // 3],
        "broken.flac": flac[:4000] + bytes(reversed(flac[4000:8000])) + flac[8000:],
        "blocks.flac": flac[:8] + b"\xff" * 34 + flac[42:],
        "comment-huge.flac": b"fLaC\x04\xff\xff\xff" + b"\xff" * 64,
        "cut.ogg": b"OggS\x00\x02" + bytes(22) + b"\x01\xff" + b"\xff" * 60,
        "tag.mp3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(100),
        "atoms.m4a": struct.pack(">I", 2**31) + b"ftypM4A " + struct.pack(">I", 1) + b"moov" + b"\xff" * 64,
        "matroska.webm": b"\x1a\x45\xdf\xa3" + b"\xff" * 200,
        "playlist.m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat.txt": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "sdp.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    }  # fmt: skip


def texts() -> dict[str, bytes]:
    """Manifests, recipes, grammars, texts, tables and their bombs."""
    clip = str(CLIP)
    lines = [
        {"audio_filepath": name, "duration": duration, "text": text}
        for name, duration, text in (
            ("/dev/zero", 1.0, "one"), ("../../../../etc/passwd", 1.0, "one"), (clip, 1e308, "one"), (clip, -1, "one"),
            (clip, 0, "one"), (clip, "x", "one"), (clip, 1.0, ["one"]), (clip, 1.0, "one " * 100_000), (["x"], 1.0, "one"),
            ("\x00", 1.0, "one"), ("x" * 5000, 1.0, "one"), (clip, 1.0, "\x1b[2J\x07\u202e"), (clip, 1.0, "\ud800"),
        )
    ]  # fmt: skip
    manifests = {f"line-{number}.jsonl": json.dumps(line).encode() + b"\n" for number, line in enumerate(lines)}
    offsets = {"audio_filepath": clip, "duration": 1.0, "offset": 1e300, "text": "one", "segments": [{"start": 5, "end": -1}]}
    grammar = "".join(f"rules: {{}}\nr{n}: [($r{n + 1} $r{n + 1})]\n" for n in range(60))
    return manifests | {
        "offset.jsonl": json.dumps(offsets).encode() + b"\n",
        "many.jsonl": b'{"audio_filepath": "a.wav", "duration": 1, "text": "one"}\n' * 20_000,
        "nested.json": NESTED_TEXT.encode(),
        "objects.json": b'{"a":' * 5000,
        "digits.json": f'{{"duration": {LONG_NUMBER}}}'.encode(),
        "surrogate.json": b'{"text": "\\ud800", "x": [1e400, -1e400, NaN]}',
        "list.json": b"[" + b"[]," * 100_000 + b"[]]",
        "bom.jsonl": b"\xef\xbb\xbf{}\n",
        "utf16.txt": "one two".encode("utf-16"),
        "latin1.txt": b"caf\xe9 \xff\xfe\n",
        "nul.txt": b"one\x00two\n" * 10,
        "escape.txt": b"\x1b]0;owned\x07\x1b[2Jone\n",
        "line-long.txt": b"a" * 3_000_000,
        "words.txt": b"\n".join(b"w%d" % n for n in range(200_000)),
        "aliases.yaml": ALIASES.encode(),
        "nested.yaml": b"a: " + b"[" * 3000,
        "indent.yaml": b"".join(b" " * n + b"a:\n" for n in range(1500)),
        "tag.yaml": b"!!python/object/apply:os.system ['touch OWNED']\n",
        "intents.yaml": b"phrases: [" + b"(a | b) " * 400 + b"]\n",
        "bomb.yaml": b"phrases:\n  x: ['" + b"[a|b|c|d] " * 300 + b"']\n",
        "rules.yaml": grammar.encode(),
        "parens.yaml": b"phrases:\n  x: ['" + b"(" * 20_000 + b"']\n",
        "intents.hassil": b"language: en\nintents:\n  A:\n    data:\n      - sentences: ['" + b"[a|b] " * 200 + b"']\n",
        "grammar.jsgf": b"#JSGF V1.0;\ngrammar g;\npublic <a> = <a> <a> | <b>;\n<b> = " + b"(" * 5000 + b";\n",
        "counts.arpa": b"\\data\\\nngram 1=999999999999\nngram 2=-1\n\\1-grams:\n-1.0 one\n\\end\\\n",
        "numbers.arpa": b"\\data\\\nngram 1=2\n\\1-grams:\nnan one inf\n1e999 two\n\\end\\\n",
        "order.arpa": b"\\data\\\n" + b"".join(b"ngram %d=1\n" % n for n in range(1, 500)) + b"\\end\\\n",
        "table.csv": b"path,text\n" + b'"' + b"x," * 50_000,
        "recipe.yaml": b"network: {hidden_size: 1.0e+30}\ndata: {train: [{manifest: /dev/zero}]}\ntrain: {steps: 1e9}\n",
        "engine.yaml": b"name: x\ncommand: ['/bin/sh', '-c', 'touch OWNED']\nvoices: {x: [1]}\n",
        "empty": b"",
        "random": bytes(range(256)) * 400,
    }  # fmt: skip


class _Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch OWNED",)


def binaries(folder: Path) -> dict[str, bytes]:
    """Models, weights, archives and states."""
    model, weights = MODEL.read_bytes(), WEIGHTS.read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    header = weights[8 : 8 + length]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(_Bomb()))
        file.writestr("archive/version", "3")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../evil.wav", bytes(50_000_000))
    return {
        "cut.onnx": model[: len(model) // 2],
        "broken.onnx": model[:2000] + bytes(4000) + model[6000:],
        "metadata.onnx": _replaced(model, b'"tokens"', b'"t\\u00k"x'),
        "deep.onnx": model + b"\x0a" + b"\xff" * 9 + b"\x01",
        "length.safetensors": struct.pack("<Q", 2**63) + weights[8:],
        "cut.safetensors": weights[: length // 2],
        "nested.safetensors": struct.pack("<Q", 8 + len(NESTED_TEXT)) + NESTED_TEXT.encode() + b" " * 8,
        "shapes.safetensors": weights[:8] + re.sub(rb'"shape":\[(\d)', rb'"shape":[9', header) + weights[8 + length :],
        "pickle.pt": pickle.dumps(_Bomb()),
        "archive.pt": archive.getvalue(),
        "bomb.zip": bomb.getvalue(),
        "damaged.tar.gz": b"\x1f\x8b\x08\x00" + bytes(range(256)),
        "lm.lm": b"edgeseq-lm" + struct.pack("<Q", 2**40) + bytes(200),
        "state.state": b"edgeseq" + b"\xff" * 300,
    }


def _replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    return content.replace(old, new[: len(old)].ljust(len(old)))


def run_one(name: str, file: Path, place: Path, seconds: float) -> Outcome:
    """Run one command with one file in a child; `place` is an empty folder, its working directory."""
    manifest = place / "manifest.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": str(CLIP), "duration": 5.0, "text": "one"}) + "\n")
    known = {
        "F": str(file),
        "RECIPE": str(ROOT / "recipes" / "ctc.yaml"),
        "CLIP": str(CLIP),
        "PHRASES": str(PHRASES),
        "WEIGHTS": str(WEIGHTS),
        "MANIFEST": str(manifest),
    }
    words = [known.get(word, word.replace("OUT", str(place / "out"))) for word in COMMANDS[name].split()]
    said = place / "said"
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_command(words, said, place, seconds)
    code, usage, fault = _wait(child, began + seconds)
    output = said.read_bytes().decode(errors="replace") if said.exists() else ""
    megabytes = usage.ru_maxrss / 1024
    took = time.monotonic() - began
    if name == "listen" and fault == "no end":
        fault = ""  # it plays a recording at the speed of time, however long
    if "Traceback" in output:
        fault = fault or "traceback"
    if code not in CODES and not fault:
        fault = f"exit code {code}"
    if megabytes > MOST_MB:
        fault = fault or f"{megabytes:.0f} MB"
    if code in (1, 2) and not output.strip():
        fault = fault or "no message"
    if any(letter in output for letter in "\x1b\x07\u202e"):
        fault = fault or "controls the terminal"
    if list(place.glob("**/OWNED")) or list(Path.cwd().glob("OWNED")):
        fault = "ran what the file says"
    return Outcome(name, file.name, code, took, megabytes, fault, output)


def _wait(child: int, until: float) -> tuple[int, resource.struct_rusage, str]:
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code, usage, f"signal {-code}" if code < 0 else ""
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return 0, usage, "no end"
        time.sleep(0.005)


def _be_command(words: list[str], said: Path, place: Path, seconds: float) -> None:
    """In the child: become `edgeseq WORDS`; never returns."""
    os.setpgid(0, 0)
    os.chdir(place)
    stdin = "/dev/null"
    if "<" in words:
        stdin = words[words.index("<") + 1]
        words = words[: words.index("<")]
    try:
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["edgeseq", *words]
        from edgeseq.cli import main as edgeseq

        try:
            edgeseq()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def outcomes(files: list[Path], names: list[str], seconds: float) -> Iterator[Outcome]:
    """Run every command with every file."""
    for name in names:
        for file in files:
            with tempfile.TemporaryDirectory(prefix="edgeseq-hostile-") as place:
                yield run_one(name, file, Path(place), seconds)


def main(
    only: Annotated[str, typer.Option(help="Beginnings of the names of commands, between commas.")] = "",
    files: Annotated[str, typer.Option(help="Parts of the names of files, between commas.")] = "",
    also: Annotated[Path | None, typer.Option(help="A folder whose files are tried, too.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest that a command may take.")] = 30.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print what each command says.")] = False,
) -> None:
    """Put hostile files through every command."""
    import numpy  # noqa: F401  imported once, for all children
    import torch

    import edgeseq.cli
    import edgeseq.training.recipe_file  # noqa: F401

    torch.set_num_threads(1)
    names = [name for name in COMMANDS if not only or name.startswith(tuple(only.split(",")))]
    tally = {"ran": 0, "refused": 0, "wrong": 0}
    worst = {"seconds": 0.0, "megabytes": 0.0}
    with tempfile.TemporaryDirectory(prefix="edgeseq-hostile-") as folder:
        corpus = Path(folder)
        write_corpus(corpus)
        if also is not None:
            for file in also.rglob("*"):
                if file.is_file():
                    shutil.copy(file, corpus / f"also-{file.name}")
        chosen = [file for file in sorted(corpus.iterdir()) if not files or any(part in file.name for part in files.split(","))]
        for outcome in outcomes(chosen, names, seconds):
            tally["ran"] += 1
            tally["refused"] += outcome.code != 0
            worst = {key: max(value, getattr(outcome, key)) for key, value in worst.items()}
            if outcome.fault:
                tally["wrong"] += 1
                print(
                    f"{outcome.command} {outcome.file}: {outcome.fault} ({outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB)"
                )
                print("    " + "\n    ".join(outcome.output.strip().splitlines()[-4:])[:600], flush=True)
            elif verbose:
                print(f"{outcome.command} {outcome.file}: {outcome.code}\n    {outcome.output.strip()[:300]}")
    print(f"{tally['ran']:,} runs: {tally['refused']:,} refused, {tally['wrong']:,} wrong;", end=" ")
    print(f"the longest took {worst['seconds']:.1f} s, the largest {worst['megabytes']:.0f} MB")
    raise typer.Exit(1 if tally["wrong"] else 0)


if __name__ == "__main__":
    typer.run(main)
