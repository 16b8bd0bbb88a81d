"""Names of the states of a graph."""

from __future__ import annotations

from edgeseq.training.acoustic_model import Encoder


def state_names(encoder: Encoder, layer: int) -> list[str]:
    """Names of a layer's state inputs: hidden, and for LSTM cell."""
    kinds = ["hidden", "cell"] if encoder.cell == "lstm" else ["hidden"]
    return [f"state_{kind}_{layer}" for kind in kinds]
