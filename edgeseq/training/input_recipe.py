"""What a recipe may say of what goes into a network: sound, symbols, or numbers over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, field_validator, model_validator

from edgeseq.model.signature import AUDIO, IDS, VALUES, Port
from edgeseq.training.recipe_part import Part

MOST_RATE = 384_000
"""Hz, of sound"""
MOST_FILTER_VALUES = 1 << 22
"""of the matrix from spectrum to mel energies: 16 MB"""
MOST_SYMBOLS, MOST_CHANNELS, MOST_EMBEDDING = 1_000_000, 4096, 65_536


class InputRecipe(Part):
    """What all kinds of inputs share. A unit is a sample, a symbol, or the values of one time."""

    is_sound: ClassVar[bool] = False

    @property
    def units_per_frame(self) -> int:
        """Units from one frame to the next."""
        return 1


class FrontendRecipe(InputRecipe):
    """Waveform to log-mel frames, see docs/model-format.md; the key may also be called `frontend`."""

    is_sound: ClassVar[bool] = True

    kind: Literal["log_mel", "kaldi"] = "log_mel"
    """`log_mel`, or Kaldi's filter bank, `kaldi`, with defaults of its own (below), for 16 kHz models"""
    sample_rate: Annotated[PositiveInt, Field(le=MOST_RATE)] = 8000
    """Hz; kaldi: 16000"""
    win_samples: PositiveInt = 200
    """kaldi: 25 ms"""
    hop_samples: PositiveInt = 80
    """kaldi: 10 ms"""
    n_mels: PositiveInt = 32
    """kaldi: 80, at least 4"""
    f_min: NonNegativeFloat = 60.0
    """Hz; kaldi: 20"""
    f_max: PositiveFloat = 3800.0
    """Hz; kaldi: 400 below half of `sample_rate`"""
    floor: PositiveFloat = 1e-6
    """lower bound of mel energies, before the logarithm; kaldi: the epsilon of float32"""
    limit: PositiveFloat = 5.0
    """normalized log-mel is clamped to plus or minus this many standard deviations"""

    @property
    def rate(self) -> float:
        """Hz."""
        return self.sample_rate

    @property
    def units_per_frame(self) -> int:
        """Samples from one frame to the next."""
        return self.hop_samples

    @property
    def n_features(self) -> int:
        """Mel energies of a frame."""
        return self.n_mels

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Statistics of log-mel."""
        return {"mean": (self.n_mels,), "std": (self.n_mels,)}

    def port(self, per_chunk: int) -> Port:
        """Say how a graph takes sound."""
        return Port(AUDIO, "float32", per_chunk, (), float(self.sample_rate))

    @model_validator(mode="before")
    @classmethod
    def _fill_in_what_kaldi_takes(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("kind") != "kaldi":
            return values
        rate = values.get("sample_rate")
        return _kaldi_defaults(rate if isinstance(rate, int) else 16_000) | dict(values)

    @model_validator(mode="after")
    def _fits_together(self) -> FrontendRecipe:
        if self.hop_samples > self.win_samples:
            raise ValueError(f"hop_samples ({self.hop_samples}) is larger than win_samples ({self.win_samples})")
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min ({self.f_min:g}) < f_max ({self.f_max:g}) <= half of sample_rate ({self.sample_rate / 2:g}) "
                "does not hold"
            )
        if self.win_samples * self.n_mels > MOST_FILTER_VALUES:
            raise ValueError(
                f"win_samples ({self.win_samples}) times n_mels ({self.n_mels}) is more than {MOST_FILTER_VALUES:,}"
            )
        if self.kind == "kaldi" and self.n_mels < 4:
            raise ValueError(f"n_mels ({self.n_mels}): the kind 'kaldi' takes at least 4")
        return self


def _kaldi_defaults(sample_rate: int) -> dict[str, Any]:
    """Give Kaldi's settings as sherpa-onnx has them, at any rate."""
    return {
        "sample_rate": sample_rate,
        "win_samples": sample_rate * 25 // 1000,
        "hop_samples": sample_rate * 10 // 1000,
        "n_mels": 80,
        "f_min": 20.0,
        "f_max": sample_rate / 2 - 400,
        "floor": 2.0**-23,  # the epsilon of float32
    }


class SequenceRecipe(InputRecipe):
    """What symbols and values share."""

    rate: PositiveFloat = 1.0
    """units per second; leave it at 1 if time means nothing: settings in seconds then count units"""


class IdsRecipe(SequenceRecipe):
    """Symbols, each looked up in a table of embeddings: text, DNA, events of a log."""

    kind: Literal["ids"]
    symbols: tuple[str, ...]
    """what the ids stand for, in order: a text of characters (`ACGT`), or a list"""
    embedding_size: Annotated[PositiveInt, Field(le=MOST_EMBEDDING)] = 32
    limit: PositiveFloat = 4.0
    """embeddings are clamped to plus or minus this"""

    @field_validator("symbols", mode="before")
    @classmethod
    def _characters(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, str) else value

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        doubled = sorted({symbol for symbol in value if value.count(symbol) > 1}) if len(set(value)) < len(value) else []
        if doubled or not 2 <= len(value) <= MOST_SYMBOLS or "" in value:
            named = f"; {doubled[0]!r} stands there twice" if doubled else ""
            raise ValueError(f"wanted from 2 to {MOST_SYMBOLS:,} symbols, each once and none of them empty{named}")
        return value

    @property
    def n_features(self) -> int:
        """Values of an embedding."""
        return self.embedding_size

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The table of embeddings."""
        return {"embedding": (len(self.symbols), self.embedding_size)}

    def port(self, per_chunk: int) -> Port:
        """Say how a graph takes ids."""
        return Port(IDS, "int64", per_chunk, (), self.rate, self.symbols)


class ValuesRecipe(SequenceRecipe):
    """Numbers over time, one or several at once: time series, sensors."""

    kind: Literal["values"]
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_CHANNELS)]
    """names of the numbers of one time; a CSV file's columns of these names are read"""
    limit: PositiveFloat = 5.0
    """normalized values are clamped to plus or minus this many standard deviations"""

    @field_validator("columns")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or "" in value:
            raise ValueError("wanted each name once, and none empty")
        return value

    @property
    def n_features(self) -> int:
        """Numbers of one time."""
        return len(self.columns)

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Statistics of the training data."""
        return {"mean": (len(self.columns),), "std": (len(self.columns),)}

    def port(self, per_chunk: int) -> Port:
        """Say how a graph takes values."""
        return Port(VALUES, "float32", per_chunk, (len(self.columns),), self.rate, self.columns)


KINDS: dict[str, type[Part]] = {"<sound>": FrontendRecipe, "<ids>": IdsRecipe, "<values>": ValuesRecipe}
"""Marks that pydantic puts into the places of faults, and what is meant there."""


def _kind_of(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in ("ids", "values") else "<sound>"


AnyInput = Annotated[
    Annotated[FrontendRecipe, Tag("<sound>")] | Annotated[IdsRecipe, Tag("<ids>")] | Annotated[ValuesRecipe, Tag("<values>")],
    Discriminator(_kind_of),
]
