"""What a model file says about itself: everything needed to use it, so that a loader guesses nothing.

`ModelMetadata` is what every model says; `CtcMetadata` what one of words says besides. Plain dataclasses, checked by hand:
pydantic would cost a board ten megabytes for a handful of fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from edgeseq.errors import EdgeseqError, ModelError, UsageError
from edgeseq.model.companions import faults_of, find_companions
from edgeseq.model.confidence import ConfidenceMap
from edgeseq.model.frames import FramesDetails
from edgeseq.model.metadata_fields import ABSENT_WHEN_EMPTY, MOST_DIGITS, PREFIX, read_fields, to_string
from edgeseq.model.next_token import NextTokenDetails
from edgeseq.model.signature import AUDIO, Port, Signature
from edgeseq.tokens.packed_lexicon import read_words
from edgeseq.tokens.table import BLANK, WORD_START, TokenTable

FORMATS = {"characters": 1, "subwords": 2, "phones": 2}
"""For models of words, by kind of tokens: raised whenever an older edgeseq could not use the file correctly."""
TASK_FORMAT = 3
"""For models of other tasks, which say themselves what goes in and comes out."""
FORMAT = TASK_FORMAT
"""The newest that is read."""

CTC, FRAMES, NEXT_TOKEN = "ctc", "frames", "next_token"
LOG_PROBS = "log_probs"
MEASURED = ("emission_delay_seconds", "ending_delay_seconds", "confidence_maps", "phrase_threshold")
"""What is measured of a model of words, and may not have been yet."""
LONGEST_FLUSH_SECONDS = 60.0


class Details(Protocol):
    """The part of the metadata that a task of format 3 reads."""

    def faults_with(self, signature: Signature) -> list[str]:
        """Say what of it does not fit the graph's ports."""


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What every model file says; each of KEYS is one string there, under `edgeseq.` and its name."""

    KEYS: ClassVar[tuple[str, ...]] = (
        *("format", "name", "task", "signature", "details", "language", "flush_seconds", "quantization", "license", "data"),
        *("scores", "config", "target", "proof", "companions"),
    )
    """in the order in which files hold them"""
    OPTIONAL: ClassVar[tuple[str, ...]] = ("language", "flush_seconds", "target", "proof", "companions")

    format: int = TASK_FORMAT
    name: str
    task: str
    """what rows become on the device: one of TASKS"""
    signature: Signature
    """what goes in and comes out, and (of format 3) what is remembered"""
    details: dict[str, Any] = field(default_factory=dict)
    """of the task's own, such as labels and thresholds"""
    language: str = ""
    """such as `en`; empty where it does not matter"""
    flush_seconds: float = 0.0
    """silence to feed after the last sample so that what it means comes out"""
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
    proof: dict[str, Any] = field(default_factory=dict)
    """error rates of the same weights in torch, whole and streamed, and in exported files (see export/proof.py)"""
    companions: dict[str, Any] = field(default_factory=dict)
    """files beside the model that it needs, by what they are, with their SHA-256 (see companions.py)"""
    companion_files: Mapping[str, Path] = field(default_factory=dict, compare=False)
    """where they lie, once they were found; not in files"""

    @property
    def rate(self) -> float:
        """Units of the input (samples, symbols ...) a second; 1 where time means nothing."""
        return self.signature.input.rate or 1.0

    @property
    def row_units(self) -> int:
        """Units of the input that one row stands for."""
        return self.signature.input.per_chunk // self.signature.rows.per_chunk

    @cached_property
    def sample_rate(self) -> int:
        """Rate of the sound that it hears, Hz. Raises UsageError for a model that does not hear."""
        return int(self.signature.audio.rate or 0)

    @cached_property
    def chunk_samples(self) -> int:
        """Samples that the graph takes at a time. Raises UsageError for a model that does not hear."""
        return self.signature.audio.per_chunk

    @property
    def step_samples(self) -> int:
        """Samples of audio that one row stands for. Raises UsageError for a model that does not hear."""
        return self.chunk_samples // self.signature.rows.per_chunk

    def with_companions(self, model: Path) -> ModelMetadata:
        """Find the companions of `model`, whose metadata this is. Raises ModelError where one is missing or another."""
        files = find_companions(self.companions, model, self.name)
        return replace(self, companion_files=files) if files else self

    def faults(self) -> list[str]:
        """Say what contradicts itself."""
        faults = [] if self.format >= TASK_FORMAT else [f"the task '{self.task}' is written in format {TASK_FORMAT} or newer"]
        for port in self.signature.inputs:
            faults += _audio_faults(port) if port.name == AUDIO else []
        faults += _input_faults(self.signature)
        try:
            faults += DETAILS[self.task](self.details).faults_with(self.signature)
        except ValueError as fault:
            faults.append(f"'{PREFIX}details': {fault}")
        return faults

    def to_strings(self) -> dict[str, str]:
        """Write the fields as ONNX metadata: string to string."""
        values = {one.name: getattr(self, one.name) for one in stored_fields(self)}
        kept = {k: v for k, v in values.items() if v is not None and (v or k not in ABSENT_WHEN_EMPTY)}
        return {PREFIX + key: to_string(value) for key, value in kept.items()}

    @staticmethod
    def from_strings(strings: Mapping[str, str], path: object) -> ModelMetadata:
        """Read ONNX metadata of the file `path` (named in messages), as the task wants it.

        Raises ModelError when a key is missing or wrong, when the format is newer than this edgeseq, or the task unknown.
        """
        found = {key.removeprefix(PREFIX): value for key, value in strings.items() if key.startswith(PREFIX)}
        if not found:
            raise ModelError(
                f"{path}: an ONNX file, but not one of edgeseq's: its metadata has no key that begins with '{PREFIX}'.\n"
                "  Use a file written by `edgeseq export`."
            )
        _refuse_newer(found.get("format", ""), path)
        kind = _kind_of(found.get("task", CTC), path)
        values, faults = read_fields(stored_fields(kind), kind.OPTIONAL, found)
        if not faults:
            metadata = kind(**values)
            faults = [f"'{PREFIX}companions': {fault}" for fault in faults_of(metadata.companions)] + metadata.faults()
            if not 0 <= metadata.flush_seconds <= LONGEST_FLUSH_SECONDS:
                faults.append(f"'{PREFIX}flush_seconds' is {metadata.flush_seconds}; wanted 0 to {LONGEST_FLUSH_SECONDS:g}")
        if faults:
            raise ModelError(
                f"{path}: the metadata is incomplete or wrong: {'; '.join(faults)}.\n"
                "  Export the model again with this version of edgeseq."
            )
        return metadata


@dataclass(frozen=True, kw_only=True)
class CtcMetadata(ModelMetadata):
    """What a model of words says: rows of `log_probs` over tokens, with a blank."""

    KEYS: ClassVar[tuple[str, ...]] = (
        *("format", "name", "task", "sample_rate", "chunk_samples", "hop_samples", "subsampling", "tokens", "token_details"),
        *("blank_id", "language", "text_normalization", "flush_seconds", "quantization", "license", "data", "scores", "config"),
        *("target", *MEASURED, "proof", "companions"),
    )
    OPTIONAL: ClassVar[tuple[str, ...]] = ("token_details", "target", "proof", "companions", *MEASURED)

    format: int = FORMATS["characters"]
    task: str = CTC
    signature: Signature = field(init=False)
    """as the fields below say; what is remembered is in the graph alone"""
    details: dict[str, Any] = field(init=False, default_factory=dict)
    language: str = field()
    flush_seconds: float = field()
    sample_rate: int = field()
    """Hz"""
    chunk_samples: int = field()
    """samples the graph takes at a time"""
    hop_samples: int
    """samples from one frame of the frontend to the next"""
    subsampling: int
    """frames of the frontend that one row of `log_probs` stands for"""
    tokens: tuple[str, ...]
    token_details: dict[str, Any] = field(default_factory=dict)
    """what spelling needs besides the tokens: `kind`, and `scores` of subwords or the `lexicon` of phones; empty: characters"""
    blank_id: int
    text_normalization: str
    emission_delay_seconds: float = 0.0
    """measured: a word's first token comes so long after its onset, by the median; subtracted from starts"""
    ending_delay_seconds: float = 0.0
    """measured: a word's last token comes so long after its end, by the median (negative: before); subtracted from ends"""
    confidence_maps: dict[str, Any] = field(default_factory=dict)
    """measured: kind of decoder -> how often words of a confidence are right (see confidence.py)"""
    phrase_threshold: float | None = None
    """measured: lowest score of a phrase that is reported by default, nats per token; None: a constant"""

    def __post_init__(self) -> None:
        """Derive the ports."""
        n_rows = self.chunk_samples // max(1, self.step_samples)
        rows = Port(LOG_PROBS, "float32", n_rows, (len(self.tokens),), self.sample_rate / max(1, self.step_samples))
        audio = Port(AUDIO, "float32", self.chunk_samples, (), float(self.sample_rate))
        object.__setattr__(self, "signature", Signature((audio,), (rows,)))

    @classmethod
    def of(cls, metadata: ModelMetadata) -> CtcMetadata:
        """Take metadata for those of a model of words. Raises UsageError when they are of another task."""
        if isinstance(metadata, CtcMetadata):
            return metadata
        raise UsageError(
            f"{metadata.name} is a model of the task '{metadata.task}', which gives no words; wanted one of '{CTC}'.\n"
            f"  Name a model of words{', or use `edgeseq detect`' if metadata.task == FRAMES else ''}."
        )

    @property
    def step_samples(self) -> int:
        """Samples of audio that one row of `log_probs` stands for."""
        return self.hop_samples * self.subsampling

    @cached_property
    def token_table(self) -> TokenTable:
        """Symbols by output column, and how words are spelled by them.

        For phones with a lexicon in a file of its own this needs `with_companions`. Raises ModelError for one that does not
        fit, or for a guesser that does not, WordListError and LanguageModelError for files that are neither.
        """
        lexicon, guesser = (self.companion_files.get(role) for role in ("lexicon", "guesser"))
        if self.token_details.get("kind") != "phones" or (lexicon is None and guesser is None):
            return replace(TokenTable.from_details(self.tokens, self.token_details), language=self.language)
        from edgeseq.lm.guesser import load_guesser

        try:
            tokens = TokenTable.from_details(
                self.tokens,
                self.token_details,
                None if lexicon is None else read_words(lexicon),
                None if guesser is None else load_guesser(guesser),
            )
            return replace(tokens, language=self.language)
        except ValueError as fault:
            files = ", ".join(str(path) for path in (lexicon, guesser) if path is not None)
            raise ModelError(f"{files}: not made for {self.name}: {fault}.\n  Export the model with others.") from fault

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

    def faults(self) -> list[str]:
        """Say what contradicts itself."""
        faults = _token_faults(self.tokens, self.token_details, "lexicon" in self.companions)
        if not 0 <= self.blank_id < len(self.tokens) or self.tokens[self.blank_id] != BLANK:
            faults.append(f"'{PREFIX}blank_id' says that blank is token {self.blank_id}, which is not '{BLANK}'")
        if self.chunk_samples % self.step_samples:
            faults.append(
                f"'{PREFIX}chunk_samples' is {self.chunk_samples}, which is no multiple of a step "
                f"({self.hop_samples} x {self.subsampling})"
            )
        return faults


TASKS: dict[str, type[ModelMetadata]] = {CTC: CtcMetadata, FRAMES: ModelMetadata, NEXT_TOKEN: ModelMetadata}
"""Task -> what its files say."""
DETAILS: dict[str, Callable[[Mapping[str, Any]], Details]] = {
    FRAMES: FramesDetails.from_dict,
    NEXT_TOKEN: NextTokenDetails.from_dict,
}
"""Task of format 3 -> how its own JSON is read."""


def stored_fields(metadata: type[ModelMetadata] | ModelMetadata) -> list[Field[Any]]:
    """List the fields that are in files, in their order there."""
    by_name = {one.name: one for one in fields(metadata)}
    return [by_name[key] for key in metadata.KEYS]


def _audio_faults(audio: Port) -> list[str]:
    faults = []
    if audio.shape or audio.dtype != "float32" or audio.rate is None or audio.rate != int(audio.rate):
        faults.append(
            f"'{AUDIO}' is {audio.dtype} of shape {list(audio.shape)} at {audio.rate} Hz; wanted float32 numbers at whole Hz"
        )
    return faults


def _input_faults(signature: Signature) -> list[str]:
    port, rows, faults = signature.input, signature.rows, []
    if port.per_chunk % rows.per_chunk:
        unit = "samples" if port.name == AUDIO else f"'{port.name}'"
        faults.append(f"a chunk of {port.per_chunk} {unit} is not a multiple of its {rows.per_chunk} rows of '{rows.name}'")
    return faults


def _token_faults(symbols: tuple[str, ...], details: dict[str, Any], has_lexicon_file: bool) -> list[str]:
    if has_lexicon_file and details.get("kind") == "phones":
        return [] if WORD_START in symbols else [f"'{PREFIX}tokens': no {WORD_START!r}"]
    try:
        TokenTable.from_details(symbols, details)
    except (ValueError, TypeError, KeyError, EdgeseqError) as fault:
        return [f"'{PREFIX}token_details': {fault}"]
    return []


def _kind_of(task: str, path: object) -> type[ModelMetadata]:
    if task not in TASKS:
        raise ModelError(
            f"{path}: a model of the task '{task[:60]}'; this edgeseq knows {', '.join(TASKS)}.\n"
            "  Update edgeseq (`pip install --upgrade edgeseq`)."
        )
    return TASKS[task]


def _refuse_newer(version: str, path: object) -> None:
    if version.isdecimal() and (len(version) > MOST_DIGITS or int(version) > FORMAT):
        raise ModelError(
            f"{path}: written in format {version[:20]}; this edgeseq reads formats up to {FORMAT}.\n"
            "  Update edgeseq (`pip install --upgrade edgeseq`)."
        )
