"""What a model file says about itself, in lines for people; `--json` has all of it."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.errors import printable

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata, ModelMetadata

NAME_COLUMNS = 14
MOST_COLUMNS = 100


def described(path: Path, metadata: ModelMetadata) -> str:
    """Describe a model, names on the left, lines no longer than the terminal."""
    columns = min(MOST_COLUMNS, shutil.get_terminal_size().columns) - NAME_COLUMNS
    return "\n".join(line for name, text in _facts(path, metadata) for line in _entry(name, printable(text), columns))


def _entry(name: str, text: str, columns: int) -> Iterator[str]:
    wrapped = textwrap.wrap(text, max(20, columns), break_long_words=False, break_on_hyphens=False) or [""]
    yield f"{name:{NAME_COLUMNS}}{wrapped[0]}"
    yield from (" " * NAME_COLUMNS + line for line in wrapped[1:])


def _facts(path: Path, metadata: ModelMetadata) -> Iterator[tuple[str, str]]:
    from edgeseq.model.companions import ROLES
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.model.signature import describe

    yield "name", metadata.name
    yield "file", f"{path} ({path.stat().st_size / 1e6:.2f} MB, {metadata.quantization}, for {metadata.target} processors)"
    if isinstance(metadata, CtcMetadata):
        yield "understands", _understood(path, metadata)
        yield "language", metadata.language
        yield "tokens", f"{len(metadata.tokens)} {metadata.token_details.get('kind', 'characters')}"
        yield "sound", _sound(metadata)
    else:
        yield "task", metadata.task
        ports = metadata.signature
        yield "signature", f"{describe(ports.inputs)} to {describe(ports.outputs)}; remembers {describe(ports.states)}"
    yield "trained on", metadata.data
    yield "license", metadata.license
    for role, companion in metadata.companions.items():
        if isinstance(companion, Mapping) and "file" in companion:
            yield "beside it", f"{companion['file']}, the {ROLES.get(role, role)}"
    for name, score in metadata.scores.items():
        yield "score", f"{name}: {_score(score)}"
    yield "proof", _proof(metadata.proof)
    yield "format", f"{metadata.format}; the recipe and all figures: edgeseq models info --json"


def _understood(path: Path, metadata: CtcMetadata) -> str:
    from edgeseq.errors import EdgeseqError
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.model.understanding import words_of

    try:
        return words_of(CtcMetadata.of(metadata.with_companions(path)).token_table)
    except EdgeseqError as fault:
        return str(fault).splitlines()[0]


def _sound(metadata: CtcMetadata) -> str:
    chunk = 1000 * metadata.chunk_samples / metadata.sample_rate
    delay = metadata.emission_delay_seconds
    shown = f"; a word appears {1000 * delay:.0f} ms after it begins" if delay else ""
    return f"{metadata.sample_rate:,} Hz, {chunk:.0f} ms at a time{shown}"


def _score(score: Any) -> str:
    """Say an error rate in percent, a comparison by its counts, and other figures as they are."""
    if isinstance(score, Mapping) and score.get("wer") is not None and "errors" in score:
        return f"{100 * score['wer']:.2f} % of the words wrong ({score['errors']:,} of {score.get('words', 0):,})"
    if isinstance(score, Mapping) and {"errors", "other_errors", "words"} <= score.keys():
        return f"{score['errors']:,} words wrong against {score['other_errors']:,}, of {score['words']:,}"
    if isinstance(score, Mapping):
        return ", ".join(f"{key} {value}" for key, value in score.items())
    return str(score)


def _proof(proof: Mapping[str, Any]) -> str:
    """Say whether the files understand what torch does, with the figures."""
    if not proof:
        return "none"
    rates = next((value for key, value in proof.items() if isinstance(value, Mapping) and "float32" in value), {})
    figures = ", ".join(f"{way} {100 * rate:.2f} %" for way, rate in rates.items() if isinstance(rate, int | float))
    heard = f" on {', '.join(proof.get('manifests', []))}"
    text = f"words wrong{heard}: {figures}" if figures else f"measured{heard}"
    return f"UNPROVEN: {proof['unproven']}; {text}" if "unproven" in proof else text
