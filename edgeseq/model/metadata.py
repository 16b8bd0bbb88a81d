"""What a model file says about itself: everything needed to use it, so that a loader guesses nothing.

A plain dataclass, checked by hand: pydantic would cost a board ten megabytes for sixteen fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeseq.errors import EdgeseqError, ModelError
from edgeseq.model.calibration import ConfidenceMap
from edgeseq.model.companions import faults_of, find_companions
from edgeseq.tokens.packed_lexicon import read_words
from edgeseq.tokens.table import BLANK, WORD_START, TokenTable
from edgeseq.untrusted import parse_json, printable

FORMATS = {"characters": 1, "subwords": 2, "phones": 2}
"""By kind of tokens: raised whenever an older edgeseq could not use the file correctly."""
FORMAT = max(FORMATS.values())
"""The newest that is read."""

PREFIX = "edgeseq."
JSON_KEYS = ("tokens", "token_details", "scores", "config", "confidence_maps", "proof", "companions")
MEASURED = ("emission_delay_seconds", "ending_delay_seconds", "confidence_maps", "phrase_threshold")
"""What is measured of a model, and may not have been yet."""
OPTIONAL = ("token_details", "target", "proof", "companions", *MEASURED)
NOT_IN_FILES = {"stored": False}
RANGES: dict[str, tuple[float, float]] = {
    "format": (1, 1000),
    "sample_rate": (1_000, 1_000_000),
    "chunk_samples": (1, 10_000_000),
    "hop_samples": (1, 10_000_000),
    "subsampling": (1, 1000),
    "blank_id": (0, 10_000_000),
    "flush_seconds": (0.0, 60.0),
    "emission_delay_seconds": (-60.0, 60.0),
    "ending_delay_seconds": (-60.0, 60.0),
}
"""Smallest and largest value of numbers; what lies outside is a broken file."""
MOST_DIGITS = 12
"""of a whole number"""


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The metadata of a model file; each field is one string there, under `edgeseq.` and its name."""

    format: int = FORMATS["characters"]
    name: str
    task: str
    sample_rate: int
    """Hz"""
    chunk_samples: int
    """samples the graph takes at a time"""
    hop_samples: int
    """samples from one frame of the frontend to the next"""
    subsampling: int
    """frames of the frontend that one row of `log_probs` stands for"""
    tokens: tuple[str, ...]
    token_details: dict[str, Any] = field(default_factory=dict)
    """what spelling needs besides the tokens: `kind`, and `scores` of subwords or the `lexicon` of phones; empty: characters"""
    blank_id: int
    language: str
    text_normalization: str
    flush_seconds: float
    """silence to feed after the last sample so that the last word comes out"""
    quantization: str
    """`float32`, or what the weights are stored in, for example `int8`"""
    license: str
    data: str
    """what the weights were trained on, with licences"""
    scores: dict[str, Any]
    config: dict[str, Any]
    """the resolved recipe"""
    target: str = "generic"
    """processor that the graph was built for; `generic` is the same arithmetic on every one"""
    emission_delay_seconds: float = 0.0
    """measured: a word's first token comes so long after its onset, by the median; subtracted from starts"""
    ending_delay_seconds: float = 0.0
    """measured: a word's last token comes so long after its end, by the median (negative: before); subtracted from ends"""
    confidence_maps: dict[str, Any] = field(default_factory=dict)
    """measured: kind of decoder -> how often words of a confidence are right (see calibration.py)"""
    phrase_threshold: float | None = None
    """measured: lowest score of a phrase that is given out where nothing else is asked for, nats a token; None: a constant"""
    proof: dict[str, Any] = field(default_factory=dict)
    """error rates of the same weights in torch, whole and streamed, and in exported files (see export/proof.py)"""
    companions: dict[str, Any] = field(default_factory=dict)
    """files beside the model that it needs, by what they are, with their SHA-256 (see companions.py)"""
    companion_files: Mapping[str, Path] = field(default_factory=dict, compare=False, metadata=NOT_IN_FILES)
    """where they lie, once they were found"""

    @cached_property
    def token_table(self) -> TokenTable:
        """Symbols by output column, and how words are spelled by them.

        Of phones with a lexicon in a file of its own this needs `with_companions`. Raises ModelError for one that does not fit,
        or for a guesser that does not, WordListError and LanguageModelError for files that are neither.
        """
        lexicon, guesser = (self.companion_files.get(role) for role in ("lexicon", "guesser"))
        if self.token_details.get("kind") != "phones" or (lexicon is None and guesser is None):
            return TokenTable.from_details(self.tokens, self.token_details)
        from edgeseq.lm.guesser import load_guesser

        try:
            return TokenTable.from_details(
                self.tokens,
                self.token_details,
                None if lexicon is None else read_words(lexicon),
                None if guesser is None else load_guesser(guesser),
            )
        except ValueError as fault:
            files = ", ".join(str(path) for path in (lexicon, guesser) if path is not None)
            raise ModelError(f"{files}: not made for {self.name}: {fault}.\n  Export the model with others.") from fault

    def with_companions(self, model: Path) -> ModelMetadata:
        """Find the companions of `model`, whose metadata this is. Raises ModelError where one is missing or another."""
        files = find_companions(self.companions, model, self.name)
        return replace(self, companion_files=files) if files else self

    def confidence_map(self, decoder: str) -> ConfidenceMap | None:
        """Give what was measured of a kind of decoder; None if nothing was. Raises ModelError when it is broken."""
        if decoder not in self.confidence_maps:
            return None
        try:
            return ConfidenceMap.from_dict(self.confidence_maps[decoder])
        except ValueError as fault:
            raise ModelError(
                f"the metadata of {self.name}: '{PREFIX}confidence_maps', {decoder}: {fault}.\n  Measure and export it again."
            ) from fault

    @property
    def step_samples(self) -> int:
        """Samples of audio that one row of `log_probs` stands for."""
        return self.hop_samples * self.subsampling

    def to_strings(self) -> dict[str, str]:
        """Write the fields as ONNX metadata: string to string."""
        values = {one.name: getattr(self, one.name) for one in stored_fields(self)}
        for name in ("token_details", "companions"):
            if not values[name]:
                del values[name]
        if self.phrase_threshold is None:
            del values["phrase_threshold"]
        return {
            PREFIX + key: json.dumps(value, ensure_ascii=False) if key in JSON_KEYS else str(value)
            for key, value in values.items()
        }

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: object) -> ModelMetadata:
        """Read ONNX metadata of the file `path` (named in messages).

        Raises ModelError when a key is missing or wrong, or when the format is newer than this edgeseq.
        """
        found = {key.removeprefix(PREFIX): value for key, value in strings.items() if key.startswith(PREFIX)}
        if not found:
            raise ModelError(
                f"{path}: an ONNX file, but not one of edgeseq's: its metadata has no key that begins with '{PREFIX}'.\n"
                "  Use a file written by `edgeseq export`."
            )
        _refuse_newer(found.get("format", ""), path)
        values, faults = {}, []
        for one in stored_fields(cls):
            if one.name in OPTIONAL and one.name not in found:
                continue
            if one.name not in found:
                faults.append(f"'{PREFIX}{one.name}' is missing")
                continue
            read = READERS[str(one.type)]
            try:
                values[one.name] = _in_range(one.name, read(found[one.name]))
            except ValueError as fault:
                faults.append(f"'{PREFIX}{one.name}': {fault} (it holds {found[one.name][:60]!r})")
        if not faults:
            companions = values.get("companions", {})
            faults = _token_faults(values["tokens"], values.get("token_details", {}), "lexicon" in companions)
            if values["blank_id"] >= len(values["tokens"]):
                faults.append(f"'{PREFIX}blank_id' is {values['blank_id']}; there are {len(values['tokens'])} tokens")
            faults += [f"'{PREFIX}companions': {fault}" for fault in faults_of(companions)]
        if faults:
            raise ModelError(
                f"{path}: the metadata is incomplete or wrong: {'; '.join(faults)}.\n"
                "  Export the model again with this version of edgeseq."
            )
        return cls(**values)


def stored_fields(metadata: type[ModelMetadata] | ModelMetadata) -> list[Field[Any]]:
    """List the fields that stand in files."""
    return [one for one in fields(metadata) if one.metadata != NOT_IN_FILES]


def _token_faults(symbols: tuple[str, ...], details: dict[str, Any], has_lexicon_file: bool) -> list[str]:
    if has_lexicon_file and details.get("kind") == "phones":
        return [] if WORD_START in symbols else [f"'{PREFIX}tokens': no {WORD_START!r}"]
    try:
        TokenTable.from_details(symbols, details)
    except (ValueError, TypeError, KeyError, EdgeseqError) as fault:
        return [f"'{PREFIX}token_details': {fault}"]
    return []


def _in_range(name: str, value: Any) -> Any:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if name in RANGES and not low <= value <= high:
        raise ValueError(f"wanted {low:,g} to {high:,g}" if value >= low else f"wanted at least {low:,g}")
    return value


def _whole_number(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else -1
    if number < 0:
        raise ValueError("wanted a whole number")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("wanted a number") from None
    if not math.isfinite(number):
        raise ValueError("wanted a number")
    return number


def _threshold(text: str) -> float:
    number = _number(text)
    if not -math.inf < number <= 0:
        raise ValueError("wanted a number of 0 or less")
    return number


def _symbols(text: str) -> tuple[str, ...]:
    symbols = parse_json(text)
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise ValueError("wanted a JSON list of strings")
    if BLANK not in symbols:
        raise ValueError(f"holds no {BLANK}")
    if any(printable(symbol) != symbol for symbol in symbols):
        raise ValueError("holds control characters")
    return tuple(symbols)


def _mapping(text: str) -> dict[str, Any]:
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("wanted a JSON object")
    return value


READERS: dict[str, Callable[[str], Any]] = {
    "int": _whole_number,
    "float": _number,
    "float | None": _threshold,
    "str": printable,
    "tuple[str, ...]": _symbols,
    "dict[str, Any]": _mapping,
}
"""How a field of a type is read from its string; a ValueError says what was wanted."""


def _refuse_newer(version: str, path: object) -> None:
    if version.isdecimal() and (len(version) > MOST_DIGITS or int(version) > FORMAT):
        raise ModelError(
            f"{path}: written in format {version[:20]}; this edgeseq reads formats up to {FORMAT}.\n"
            "  Update edgeseq (`pip install --upgrade edgeseq`)."
        )
