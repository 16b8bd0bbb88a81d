"""What a model file says about itself: everything needed to use it, so that a loader guesses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, field_validator

from edgeseq.errors import ModelError
from edgeseq.tokens import BLANK, TokenTable

FORMAT = 1
"""Raised whenever an older edgeseq could not use the file correctly."""

PREFIX = "edgeseq."
JSON_KEYS = ("tokens", "scores", "config")


class ModelMetadata(BaseModel):
    """The metadata of a model file; each field is one string there, under `edgeseq.` and its name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: PositiveInt = FORMAT
    name: str
    task: str
    sample_rate: PositiveInt
    """Hz"""
    chunk_samples: PositiveInt
    """samples the graph takes at a time"""
    hop_samples: PositiveInt
    """samples from one frame of the frontend to the next"""
    subsampling: PositiveInt
    """frames of the frontend in one row of `log_probs`"""
    tokens: tuple[str, ...]
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

    @field_validator("tokens")
    @classmethod
    def _has_blank(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        if BLANK not in tokens:
            raise ValueError(f"holds no {BLANK}")
        return tokens

    @property
    def token_table(self) -> TokenTable:
        """Symbols by output column."""
        return TokenTable(self.tokens)

    @property
    def step_samples(self) -> int:
        """Samples of audio that one row of `log_probs` stands for."""
        return self.hop_samples * self.subsampling

    def to_strings(self) -> dict[str, str]:
        """Write the fields as ONNX metadata: string to string."""
        fields = self.model_dump(mode="json")
        return {
            PREFIX + key: json.dumps(value, ensure_ascii=False) if key in JSON_KEYS else str(value)
            for key, value in fields.items()
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
        try:
            fields = {key: json.loads(v) if key in JSON_KEYS else v for key, v in found.items()}
            return cls.model_validate(fields)
        except (ValidationError, json.JSONDecodeError) as fault:
            raise ModelError(f"{path}: {_describe(fault)}\n  Export the model again with this version of edgeseq.") from fault


def _refuse_newer(version: str, path: object) -> None:
    if version.isdigit() and int(version) > FORMAT:
        raise ModelError(
            f"{path}: written in format {version}; this edgeseq reads formats up to {FORMAT}.\n"
            "  Update edgeseq (`pip install --upgrade edgeseq`)."
        )


def _describe(fault: ValidationError | json.JSONDecodeError) -> str:
    if isinstance(fault, json.JSONDecodeError):
        return f"a JSON value of the metadata is broken ({fault})."
    faults = (f"'{PREFIX}{'.'.join(map(str, e['loc']))}': {e['msg'].lower()}" for e in fault.errors())
    return "the metadata is incomplete or wrong: " + "; ".join(faults) + "."
