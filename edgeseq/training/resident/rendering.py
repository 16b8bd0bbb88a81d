"""How a batch sounds: clips placed, rooms, microphones, noise and levels, then frames with masks; all as tensors.

The keys are those of the recipe's `augment`; what this module cannot do with tensors is refused, not left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgeseq.errors import RecipeError
from edgeseq.training.augment_recipe import AugmentRecipe
from edgeseq.training.augmentation.noise import COLORS
from edgeseq.training.resident.rows import PlannedBatch
from edgeseq.training.resident.store import LEVEL_DB, Store

DRAWN_ROOMS = 300
"""Decaying impulse responses made at the start."""
ROOM_SECONDS = 0.6
"""Longest impulse response."""
MICROPHONE_POINTS = 7
"""Frequencies at which a microphone's gain is drawn."""
EDGE_OCTAVES = 0.5
"""Width over which a band fades at its borders."""


def refuse_unsupported(augment: AugmentRecipe) -> None:
    """Raise RecipeError where a recipe asks for what only the ordinary trainer does."""
    asked = {
        "clipping": augment.clipping.probability,
        "telephone": augment.telephone.probability,
    }
    named = [f"augment.{name}" for name, share in asked.items() if share > 0]
    if named:
        raise RecipeError(f"{', '.join(named)}: not for training with all sound on the device. Set the probability to 0.")


class Renderer:
    """Makes batches of sound, then of frames."""

    def __init__(
        self,
        store: Store,
        augment: AugmentRecipe,
        noises: Sequence[NDArray[np.int16]],
        responses: Sequence[NDArray[np.float32]],
        seed: int,
    ) -> None:
        """Use the device of the store; `noises` are recordings, `responses` measured impulse responses at its rate."""
        refuse_unsupported(augment)
        self.store, self.augment = store, augment
        self.device = store.samples.device
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.noise = torch.from_numpy(np.concatenate(noises)).to(self.device) if noises else None
        length = int(ROOM_SECONDS * store.sample_rate)
        measured = [_fit_response(torch.from_numpy(response).float(), length) for response in responses]
        self.measured = torch.stack(measured).to(self.device) if measured else None
        self.decaying = self._decaying_rooms(length)

    def samples(self, batch: PlannedBatch) -> Tensor:
        """Render a batch, float32 `[n_rows, n_samples]`."""
        n_rows = len(batch.target_lengths)
        clean = self._place(batch, n_rows)
        if batch.difficulty == 0:
            return clean
        share = batch.difficulty
        n_fft = _good_size(batch.n_samples + int(ROOM_SECONDS * self.store.sample_rate))
        spectrum = torch.fft.rfft(clean, n_fft)
        spectrum *= torch.fft.rfft(self._rooms(n_rows, share), n_fft)
        spectrum += self._coloured_noise(n_rows, spectrum.shape[1], n_fft, share)
        spectrum *= self._responses(n_rows, spectrum.shape[1], share)
        sound = torch.fft.irfft(spectrum, n_fft)[:, : batch.n_samples]
        sound = sound + self._recorded_noise(n_rows, batch.n_samples, share)
        low, high = self.augment.level_db
        sound = sound * _from_db(self._uniform(n_rows, low * share, high * share))[:, None]
        return sound.clamp(-1, 1)

    def _place(self, batch: PlannedBatch, n_rows: int) -> Tensor:
        """Put clips where they belong, all at the same level except for `clip_level_db`."""
        line = torch.zeros(n_rows * batch.n_samples, device=self.device)
        if len(batch.clips):
            lengths, clips, speeds = batch.lengths.to(self.device, non_blocking=True), batch.clips.numpy(), batch.speeds.numpy()
            numbers = torch.repeat_interleave(lengths, output_size=int(batch.lengths.sum()))
            offsets = torch.arange(len(numbers), device=self.device) - (torch.cumsum(lengths, 0) - lengths)[numbers]
            sources = self._send(self.store.starts[speeds, clips])
            low, high = self.augment.clip_level_db
            varied = _from_db(self._uniform(len(clips), low * batch.difficulty, high * batch.difficulty))
            gains = self._send(self.store.gains[clips]) * varied
            sound = self.store.samples[sources[numbers] + offsets].float() * gains[numbers]
            line[batch.places.to(self.device, non_blocking=True)[numbers] + offsets] = sound
        return line.view(n_rows, batch.n_samples)

    def _send(self, values: NDArray[Any]) -> Tensor:
        """Copy values to the device without waiting for what it still has to do."""
        tensor = torch.from_numpy(values)
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    def _rooms(self, n_rows: int, share: float) -> Tensor:
        """Draw impulse responses, `[n_rows, n_samples]`; a single 1 where there is no room."""
        room = self.augment.room
        rooms = self.decaying[torch.randint(len(self.decaying), (n_rows,), device=self.device, generator=self.random)]
        if self.measured is not None:
            drawn = torch.randint(len(self.measured), (n_rows,), device=self.device, generator=self.random)
            rooms = torch.where(self._chance(n_rows, room.measured)[:, None], self.measured[drawn], rooms)
        dry = torch.zeros_like(rooms[:1])
        dry[:, 0] = 1
        return torch.where(self._chance(n_rows, room.probability * share)[:, None], rooms, dry)

    def _decaying_rooms(self, length: int) -> Tensor:
        """Make random rooms: noise that decays exponentially behind the direct sound (Polack 1988)."""
        room, rate = self.augment.room, self.store.sample_rate
        seconds = torch.arange(length, device=self.device) / rate
        t60 = self._uniform(DRAWN_ROOMS, *room.t60_seconds)
        decay = torch.exp(-math.log(1000) * seconds / t60[:, None])
        tail = torch.randn(DRAWN_ROOMS, length, device=self.device, generator=self.random) * decay
        tail = tail / tail.norm(dim=1, keepdim=True) * _from_db(-self._uniform(DRAWN_ROOMS, *room.direct_db))[:, None]
        tail[:, 0] = 1
        return tail / tail.norm(dim=1, keepdim=True)

    def _responses(self, n_rows: int, n_bins: int, share: float) -> Tensor:
        """Draw gains by frequency, `[n_rows, n_bins]`: microphones, and bands that are let through."""
        microphone, band = self.augment.microphone, self.augment.band
        low, high = microphone.gain_db
        points = low + (high - low) * torch.rand(n_rows, 1, MICROPHONE_POINTS, device=self.device, generator=self.random)
        points *= self._chance(n_rows, microphone.probability * share)[:, None, None]
        decibels = functional.interpolate(points, n_bins, mode="linear", align_corners=True)[:, 0]
        if band.probability > 0:
            hertz = torch.linspace(0, self.store.sample_rate / 2, n_bins, device=self.device).clamp_min(1)
            above = torch.log2(hertz / self._uniform(n_rows, *band.low_hz)[:, None])
            below = torch.log2(self._uniform(n_rows, *band.high_hz)[:, None] / hertz)
            fall = 24 * (above.clamp_max(0) + below.clamp_max(0)).clamp_min(-3)
            decibels = decibels + fall * self._chance(n_rows, band.probability * share)[:, None]
        return _from_db(decibels)

    def _coloured_noise(self, n_rows: int, n_bins: int, n_fft: int, share: float) -> Tensor:
        """Draw the spectra of coloured noise, complex `[n_rows, n_bins]`."""
        noise = self.augment.noise
        color = self._uniform(n_rows, *COLORS)[:, None]
        shape = torch.arange(n_bins, device=self.device).clamp_min(n_bins // 400)[None] ** (-color / 2)
        shape = shape / shape.square().mean(dim=1, keepdim=True).sqrt()
        level = _from_db(LEVEL_DB - self._uniform(n_rows, *noise.snr_db)) * self._chance(n_rows, noise.probability * share)
        drawn = torch.randn(n_rows, n_bins, 2, device=self.device, generator=self.random)
        return torch.view_as_complex(drawn) * (shape * (level * math.sqrt(n_fft / 2))[:, None])

    def _recorded_noise(self, n_rows: int, n_samples: int, share: float) -> Tensor:
        """Draw stretches of recorded noise, `[n_rows, n_samples]`."""
        recorded = self.augment.recorded_noise
        if recorded.probability == 0 or self.noise is None:
            return torch.zeros((), device=self.device)
        first = torch.randint(len(self.noise), (n_rows,), device=self.device, generator=self.random)
        places = (first[:, None] + torch.arange(n_samples, device=self.device)) % len(self.noise)
        drawn = self.noise[places].float()
        level = drawn.square().mean(dim=1).sqrt().clamp_min(20.0)
        wanted = _from_db(LEVEL_DB - self._uniform(n_rows, *recorded.snr_db))
        return drawn * (wanted / level * self._chance(n_rows, recorded.probability * share))[:, None]

    def mask(self, frames: Tensor, share: float) -> Tensor:
        """Warp and mask normalized frames `[n_rows, n_frames, n_mels]` (Park et al. 2019; Jaitly and Hinton 2013)."""
        spec = self.augment.spec_augment
        n_rows, n_frames, n_mels = frames.shape
        if spec.mel_warp > 0:
            frames = self._warp(frames, spec.mel_warp * share)
        keep = torch.ones(n_rows, n_frames, n_mels, dtype=torch.bool, device=self.device)
        for _ in range(round(spec.time_masks * share)):
            keep &= ~self._span(n_rows, n_frames, spec.time_width)[:, :, None]
        for _ in range(spec.mel_masks):
            keep &= ~(self._span(n_rows, n_mels, spec.mel_width) & self._chance(n_rows, share)[:, None])[:, None, :]
        return frames * keep

    def _span(self, n_rows: int, size: int, width: int) -> Tensor:
        """Draw a span of up to `width` places, bool `[n_rows, size]`."""
        wide = self._uniform(n_rows, 0, width + 1).floor()
        first = (self._uniform(n_rows, 0, 1) * (size - wide).clamp_min(1)).floor()
        place = torch.arange(size, device=self.device)
        return (place >= first[:, None]) & (place < (first + wide)[:, None])

    def _warp(self, frames: Tensor, most: float) -> Tensor:
        """Stretch the mel axis of each row by 1 plus or minus at most `most`."""
        n_mels = frames.shape[2]
        place = torch.arange(n_mels, device=self.device)
        wanted = (place * (1 + self._uniform(len(frames), -most, most))[:, None]).clamp(0, n_mels - 1)
        weights = (1 - (wanted[:, None, :] - place[None, :, None]).abs()).clamp_min(0)
        return torch.bmm(frames, weights)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, device=self.device, generator=self.random)

    def _chance(self, count: int, probability: float) -> Tensor:
        return torch.rand(count, device=self.device, generator=self.random) < probability


def _from_db(decibels: Tensor) -> Tensor:
    return torch.exp(decibels * (math.log(10) / 20))


def _good_size(size: int) -> int:
    """Find the next size with small factors."""
    return min(two * odd for odd in (1, 3, 5, 9) for two in [2 ** math.ceil(math.log2(size / odd))] if two * odd >= size)


def _fit_response(response: Tensor, length: int) -> Tensor:
    """Begin a measured response at its direct sound, cut or fill it to `length`, energy 1."""
    first = max(0, int(response.abs().argmax()) - 8)
    fitted = functional.pad(response[first : first + length], (0, max(0, length - len(response[first:]))))
    return fitted / fitted.norm()
