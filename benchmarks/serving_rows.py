"""Compares log-probs of many streams in the batches of a server's hub with those of each stream alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.serving_answers import PCM16_SCALE
from edgeseq.decoding.greedy import GreedyDecoder, GreedyState
from edgeseq.sound.blocks import Floats
from edgeseq.stream.recognizer import Recognizer


class RowKeeper(GreedyDecoder):
    """A greedy decoder that keeps the log-probs that it is given; for one stream."""

    def __init__(self, metadata: Any) -> None:
        """Keep nothing yet."""
        super().__init__(metadata)
        self.rows: list[Floats] = []

    def step(self, log_probs: Floats, state: GreedyState) -> GreedyState:
        """Keep the rows `[n_steps, n_tokens]`, and continue."""
        self.rows.append(log_probs.copy())
        return super().step(log_probs, state)

    @property
    def log_probs(self) -> Floats:
        """All rows."""
        return np.concatenate(self.rows)


async def largest_difference(recognizer: Recognizer, sounds: Sequence[Floats], n_streams: int) -> tuple[float, float]:
    """Push streams through a hub in messages of random sizes.

    Returns the largest difference of a log-prob from the same stream alone, and the mean number of streams in a batch.
    """
    from edgeseq.serve.hub import Hub
    from edgeseq.serve.limits import Limits

    keepers = [RowKeeper(recognizer.metadata) for _ in range(n_streams)]
    spoken = [np.roll(sounds[n % len(sounds)], 977 * n).astype(np.float32) / np.float32(PCM16_SCALE) for n in range(n_streams)]
    sizes = np.random.default_rng(0)

    async def speak(hub: Hub, n: int) -> None:
        async with hub.open("vosk", recognizer=recognizer.with_decoder(keepers[n])) as stream:
            at = 0
            while at < len(spoken[n]):
                size = int(sizes.integers(1, 2 * recognizer.metadata.chunk_samples))
                await stream.hear(spoken[n][at : at + size])
                at += size
            await stream.finish()

    async with Hub({"drawn": recognizer}, Limits(streams=n_streams)) as hub:
        await asyncio.gather(*(speak(hub, n) for n in range(n_streams)))
        batch = hub.metrics.n_chunks / hub.metrics.n_steps
    alone = [_log_probs_alone(recognizer, samples) for samples in spoken]
    return max(float(np.abs(one.log_probs - other).max()) for one, other in zip(keepers, alone, strict=True)), batch


def _log_probs_alone(recognizer: Recognizer, samples: Floats) -> Floats:
    keeper = RowKeeper(recognizer.metadata)
    own = recognizer.with_decoder(keeper)
    _, state = own.step(samples, own.init_state())
    own.flush(state)
    return keeper.log_probs
