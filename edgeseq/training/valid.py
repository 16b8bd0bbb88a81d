"""Error rates of a model in training: whole clips, greedy."""

from __future__ import annotations

from collections.abc import Sequence

import jiwer
import torch
from torch import Tensor

from edgeseq.manifest import Recording
from edgeseq.tokens import TokenTable, normalize_text
from edgeseq.training.acoustic_model import AcousticModel
from edgeseq.training.clips import ClipReader

BATCH_SIZE = 50


def collapse(log_probs: Tensor, blank_id: int) -> list[int]:
    """Best path of `[n_steps, n_tokens]`: repeats merged, blanks dropped (the map B of Graves et al. 2006)."""
    best = torch.unique_consecutive(log_probs.argmax(dim=-1))
    return [token for token in best.tolist() if token != blank_id]


@torch.inference_mode()
def transcribe_clips(
    model: AcousticModel,
    recordings: Sequence[Recording],
    reader: ClipReader,
    tokens: TokenTable,
    tail_seconds: float,
) -> list[str]:
    """Spell what the model hears in each recording from a zero state, with `tail_seconds` of silence after it."""
    device = model.frontend.mean.device
    tail = int(tail_seconds * reader.sample_rate)
    texts: list[str] = []
    for first in range(0, len(recordings), BATCH_SIZE):
        clips = [torch.from_numpy(reader.read(r)) for r in recordings[first : first + BATCH_SIZE]]
        n_samples = max(map(len, clips)) + tail
        audio = torch.stack([torch.nn.functional.pad(clip, (0, n_samples - len(clip))) for clip in clips])
        log_probs, _ = model.step(audio.to(device), model.init_state(len(clips)))
        texts += [tokens.decode(collapse(row, tokens.blank_id)) for row in log_probs]
    return texts


def words_wrong(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Percent of words substituted, deleted or inserted."""
    return 100 * float(jiwer.wer([normalize_text(r) for r in references], list(hypotheses)))
