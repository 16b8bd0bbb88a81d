"""How much silence must follow the last sample, so that the last word of a closely cut clip comes out?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgeseq.data.manifest import Recording, find_data
from edgeseq.errors import EdgeseqError, ExportError
from edgeseq.training.clips import ClipReader
from edgeseq.training.manifest_index import ManifestIndex

if TYPE_CHECKING:
    from edgeseq.training.weights import Trained

LONGEST_FLUSH_SECONDS = 1.0
FLUSH_QUANTILE = 0.995
"""Share of clips whose last token must come out within the flush."""
MAX_FLUSH_CLIPS = 400
DRAW_SEED = 0


def measure_flush(trained: Trained) -> float:
    """Seconds of silence after which the last token of closely cut clips is out, in whole rows.

    Measured on up to 400 of the recipe's easy training clips. Raises ExportError when their manifest is not there.
    """
    try:
        source = next(s for s in trained.recipe.data.train if s.easy)
        manifest = ManifestIndex.of(find_data(source.manifest))
    except EdgeseqError as fault:
        raise ExportError(
            f"flush_seconds is measured on the recipe's training clips, and they are not here:\n{fault}\n"
            "  Bring them, or give --flush-seconds."
        ) from fault
    lags = last_token_lags(trained, [manifest[number] for number in draw_clips(len(manifest))])
    row_seconds = trained.recipe.row_seconds
    return math.ceil(max(0.0, float(np.quantile(lags, FLUSH_QUANTILE))) / row_seconds - 1e-9) * row_seconds


def draw_clips(count: int) -> list[int]:
    """Draw up to 400 of `count` clips, always the same: every second one could be the same word where texts take turns."""
    drawn = np.random.default_rng(DRAW_SEED).permutation(count)[:MAX_FLUSH_CLIPS]
    return sorted(int(number) for number in drawn)


@torch.inference_mode()
def last_token_lags(trained: Trained, recordings: Sequence[Recording]) -> list[float]:
    """Seconds from the end of each clip to the end of the step in which its last token appears; at most a second."""
    rate, row_samples = trained.recipe.frontend.sample_rate, trained.recipe.row_units
    reader = ClipReader(rate)
    lags = []
    for recording in recordings:
        clip = torch.from_numpy(reader.read(recording))
        heard = torch.nn.functional.pad(clip, (0, int(LONGEST_FLUSH_SECONDS * rate)))
        log_probs, _ = trained.model.step(heard[None], trained.model.init_state(1))
        best = log_probs[0].argmax(dim=-1)
        starts = torch.nonzero((best != trained.tokens.blank_id) & (best != torch.roll(best, 1)))
        if len(starts):
            lags.append(((int(starts[-1]) + 1) * row_samples - len(clip)) / rate)
    if not lags:
        raise ExportError("The network says nothing to any of the recipe's training clips; train it longer before exporting.")
    return lags
