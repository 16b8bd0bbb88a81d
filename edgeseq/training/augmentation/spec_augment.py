"""Masks and a warp on log-mel, in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeseq.training.augment_recipe import SpecAugmentRecipe
from edgeseq.training.chance import RowChance

TIME, MEL = 1, 2
"""axes of log-mel `[batch, n_frames, n_mels]`"""


@dataclass(frozen=True)
class Mask:
    """A stretch of an axis in each row."""

    axis: int
    starts: Tensor
    """in bins of the axis, float32 `[batch, 1]`"""
    widths: Tensor
    """the same"""


@dataclass(frozen=True)
class SpecAugment:
    """What was drawn for each row of a batch."""

    warps: Tensor
    """factors by which the mel axis is stretched, float32 `[batch, 1]`"""
    masks: tuple[Mask, ...]

    def apply(self, frames: Tensor) -> Tensor:
        """Change normalized log-mel `[batch, n_frames, n_mels]`."""
        changed = warp_mels(frames, self.warps)
        quietest = changed.amin(dim=1, keepdim=True)  # which no mask changes
        for mask in self.masks:
            changed = take_down(changed, mask, quietest)
        return changed

    def words(self, row: int) -> str:
        """Tell what was drawn for a row."""
        names = {TIME: "frames", MEL: "mels"}
        ends = [(names[m.axis], float(m.starts[row]), float(m.starts[row] + m.widths[row])) for m in self.masks]
        masked = "; ".join(f"{name} {start:.0f} to {end:.0f}" for name, start, end in ends)
        return f"mels stretched {float(self.warps[row]):.2f} times" + (f", masked: {masked}" if masked else "")


def draw_spec_augment(shape: torch.Size, recipe: SpecAugmentRecipe, strength: float, chance: RowChance) -> SpecAugment:
    """Draw warp and masks for log-mel of `shape` `[batch, n_frames, n_mels]`; `strength` in [0, 1] scales them all."""
    warps = 1 + recipe.mel_warp * strength * (2 * chance.uniform(1) - 1)
    masks = [_draw_mask(MEL, shape, recipe.mel_width * strength, chance) for _ in range(recipe.mel_masks)]
    masks += [_draw_mask(TIME, shape, recipe.time_width * strength, chance) for _ in range(recipe.time_masks)]
    return SpecAugment(warps, tuple(masks))


def spec_augment(log_mel: Tensor, recipe: SpecAugmentRecipe, strength: float, chance: RowChance) -> Tensor:
    """Warp and mask normalized log-mel `[batch, n_frames, n_mels]`; `strength` in [0, 1] scales widths and warp."""
    return draw_spec_augment(log_mel.shape, recipe, strength, chance).apply(log_mel)


def _draw_mask(axis: int, shape: torch.Size, width: float, chance: RowChance) -> Mask:
    draws = chance.uniform(2)
    widths = draws[:, :1] * min(width, shape[axis])
    return Mask(axis, draws[:, 1:] * (shape[axis] - widths), widths)


def take_down(frames: Tensor, mask: Mask, quietest: Tensor) -> Tensor:
    """Take a stretch down to the row's quietest `[batch, 1, n_mels]`: a stretch at the mean would sound loud in a pause."""
    bins = torch.arange(frames.shape[mask.axis], device=frames.device)[None]
    masked = (bins >= mask.starts) & (bins < mask.starts + mask.widths)
    masked = masked[:, :, None] if mask.axis == TIME else masked[:, None, :]
    return torch.where(masked, quietest, frames)


def warp_mels(frames: Tensor, factors: Tensor) -> Tensor:
    """Stretch the mel axis of each row by its factor `[batch, 1]`, as another vocal tract would."""
    n_mels = frames.shape[2]
    at = (torch.arange(n_mels, device=frames.device)[None] * factors).clamp(max=n_mels - 1)  # [batch, n_mels]
    low = at.floor().long()
    high = (low + 1).clamp(max=n_mels - 1)
    weight = (at - low)[:, None, :]
    expand = (-1, frames.shape[1], -1)
    below = frames.gather(2, low[:, None, :].expand(expand))
    above = frames.gather(2, high[:, None, :].expand(expand))
    return torch.lerp(below, above, weight)
