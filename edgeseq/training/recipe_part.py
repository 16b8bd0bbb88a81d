"""What all parts of a recipe share: frozen, no unknown keys; and ranges."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat


def ascending(pair: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range that does not go from low to high."""
    if pair[0] > pair[1]:
        raise ValueError(f"a range goes from low to high, got {list(pair)}")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(ascending)]
"""Drawn uniformly between the two, low first."""

PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(ascending)]
SecondsRange = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(ascending)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """One mapping of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")
