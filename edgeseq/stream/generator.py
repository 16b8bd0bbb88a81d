"""Symbols that follow symbols: how likely a sequence is, and new ones, for models of the task `next_token` (text, DNA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeseq.errors import UsageError
from edgeseq.model.metadata import NEXT_TOKEN, ModelMetadata
from edgeseq.model.network import Floats, Network, NetworkState
from edgeseq.model.signature import Array, Port
from edgeseq.stream.state import check_units


@dataclass(frozen=True)
class GeneratorState:
    """All that is remembered of a sequence. A value: any old one may be continued."""

    network: NetworkState
    log_probs: Floats
    """of each symbol to be the next, natural logarithms, float32 `[n_symbols]`"""
    n_symbols: int = 0
    """read or generated so far"""


class Generator:
    """A network of symbols. Read-only: sequences share it, states differ.

    >>> generator = edgeseq.load("shakespeare")                                            # doctest: +SKIP
    >>> _, state = generator.step(generator.encode("ROMEO:"), generator.init_state())      # doctest: +SKIP
    >>> ids, state = generator.generate(100, state, temperature=0.7, seed=3)               # doctest: +SKIP
    >>> "".join(generator.decode(ids))                                                     # doctest: +SKIP
    """

    def __init__(self, network: Network) -> None:
        """Use `network`. Raises UsageError for one of another task."""
        metadata = network.metadata
        if metadata.task != NEXT_TOKEN:
            raise UsageError(f"{metadata.name} is a model of the task '{metadata.task}'; wanted one of '{NEXT_TOKEN}'.")
        self.network, self._rows_name = network, metadata.signature.rows.name
        self._ids = {symbol: number for number, symbol in enumerate(self.port.names)}

    @property
    def metadata(self) -> ModelMetadata:
        """What the model file says about itself."""
        return self.network.metadata

    @property
    def port(self) -> Port:
        """What `step` takes; its names are the symbols."""
        return self.network.metadata.signature.input

    def encode(self, symbols: Sequence[str]) -> Array:
        """Turn symbols, or a text of characters, into ids, int64 `[n]`. Raises UsageError for a symbol that is unknown."""
        unknown = next((symbol for symbol in symbols if symbol not in self._ids), None)
        if unknown is not None:
            raise UsageError(f"{unknown!r} is none of the {len(self._ids)} symbols of {self.metadata.name}.")
        return np.array([self._ids[symbol] for symbol in symbols], dtype=np.int64)

    def decode(self, ids: Array) -> list[str]:
        """Turn ids `[n]` into symbols."""
        return [self.port.names[number] for number in ids.tolist()]

    def init_state(self) -> GeneratorState:
        """Begin a sequence: each symbol is as likely as any other."""
        n_symbols = len(self._ids)
        return GeneratorState(self.network.init_state(), np.full(n_symbols, -math.log(n_symbols), dtype=np.float32))

    def step(self, ids: Array, state: GeneratorState) -> tuple[list[float], GeneratorState]:
        """Read symbols, int64 `[n]`, any number; `state` is not modified.

        Returns the natural logarithm of each one's probability, given all before it. Raises UsageError for another type or
        shape, for ids that are no symbols, and for a model that takes several symbols at a time.
        """
        check_units(ids, self.port, state.n_symbols)
        if self.port.per_chunk != 1:
            raise UsageError(
                f"{self.metadata.name} takes {self.port.per_chunk} symbols at a time; one is wanted.\n"
                "  Export it with export.chunk_steps: 1."
            )
        log_probs, network, scores = state.log_probs, state.network, []
        for number in ids:
            scores.append(float(log_probs[number]))
            outputs, network = self.network.step({self.port.name: np.array([[number]])}, network)
            log_probs = outputs[self._rows_name][0, -1]
        return scores, GeneratorState(network, log_probs, state.n_symbols + len(ids))

    def score(self, symbols: Sequence[str]) -> list[float]:
        """Give the natural logarithm of each symbol's probability, given those before it; a sum says how likely all are."""
        return self.step(self.encode(symbols), self.init_state())[0]

    def generate(
        self, n_symbols: int, state: GeneratorState, *, temperature: float = 1.0, seed: int = 0
    ) -> tuple[Array, GeneratorState]:
        """Continue a sequence by `n_symbols`, each drawn and fed back; returns their ids, int64 `[n_symbols]`.

        temperature: below 1 likely symbols become likelier; 0 takes the likeliest. The same `seed` and state give the same
        symbols, however many are asked for at a time. Raises UsageError for a temperature below 0.
        """
        if not 0 <= temperature < math.inf:
            raise UsageError(f"the temperature is {temperature}; wanted a number from 0.")
        ids = np.zeros(max(0, n_symbols), dtype=np.int64)
        for place in range(len(ids)):
            ids[place] = _draw(state.log_probs, temperature, np.random.default_rng([seed, state.n_symbols]))
            _, state = self.step(ids[place : place + 1], state)
        return ids, state


def _draw(log_probs: Floats, temperature: float, random: np.random.Generator) -> int:
    """Draw a symbol: the largest log-prob with Gumbel's noise (Gumbel 1954)."""
    noise = random.gumbel(size=len(log_probs))
    return int(np.argmax(log_probs + temperature * noise if temperature else log_probs))
