"""Waveform to normalized log-mel frames, whole or by chunk.

The arithmetic is torchaudio's `MelSpectrogram` with `center=False`; `edgeseq.export` puts the same into the graph. A stream
begins as if `win_samples - hop_samples` zeros had come before it, so that every hop of samples completes one frame.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from edgeseq.training.torchaudio_import import torchaudio


class LogMel(nn.Module):
    """Log-mel energies, normalized by fixed training-set statistics and clamped.

    frames = clamp((ln(max(mel, floor)) - mean) / std, -limit, limit); `mean` and `std` are buffers `[n_mels]`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sample_rate: int,
        win_samples: int,
        hop_samples: int,
        n_mels: int,
        f_min: float,
        f_max: float,
        floor: float,
        limit: float,
    ) -> None:
        """Take plain numbers: Hz, samples, counts; `limit` is in standard deviations."""
        super().__init__()
        self.win_samples, self.hop_samples = win_samples, hop_samples
        self.floor, self.limit = floor, limit
        with warnings.catch_warnings():  # torchaudio warns of mel filters without a bin; that is refused below
            warnings.simplefilter("ignore")
            self.mel_spectrogram = torchaudio.transforms.MelSpectrogram(
                sample_rate,
                n_fft=win_samples,
                win_length=win_samples,
                hop_length=hop_samples,
                n_mels=n_mels,
                f_min=f_min,
                f_max=f_max,
                center=False,
            )
        if bool((self.mel_matrix.sum(dim=0) == 0).any()):
            raise ValueError(
                f"{n_mels} mel filters between {f_min:g} and {f_max:g} Hz are too many for a window of {win_samples} samples: "
                "some hold no frequency bin. Use fewer filters or a longer window."
            )
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    @property
    def mel_matrix(self) -> Tensor:
        """Weights from power spectrum to mel energies, `[win_samples // 2 + 1, n_mels]`."""
        return self.mel_spectrogram.mel_scale.fb

    @property
    def window(self) -> Tensor:
        """The periodic Hann window, `[win_samples]`."""
        return self.mel_spectrogram.spectrogram.window

    def init_state(self, batch: int) -> Tensor:
        """Zeros that stand for what came before the stream, `[batch, win_samples - hop_samples]`."""
        return self.mean.new_zeros(batch, self.win_samples - self.hop_samples)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn `samples` `[batch, n_samples]` into log-mel `[batch, n_frames, n_mels]` (natural log), not yet normalized."""
        return self.mel_spectrogram(samples).clamp_min(self.floor).log().transpose(1, 2)

    def normalize(self, log_mel: Tensor) -> Tensor:
        """Subtract the mean, divide by the deviation, clamp; any shape `[..., n_mels]`."""
        return ((log_mel - self.mean) / self.std).clamp(-self.limit, self.limit)

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance a batch of streams by `samples` `[batch, n_samples]`, any length, also zero.

        Returns the frames completed `[batch, n_frames, n_mels]` and the samples that later frames still need.
        """
        heard = torch.cat([state, samples], dim=1)
        n_frames = max(0, (heard.shape[1] - self.win_samples) // self.hop_samples + 1)
        if n_frames == 0:
            return heard.new_zeros(len(heard), 0, len(self.mean)), heard
        return self.normalize(self.log_mel(heard)), heard[:, n_frames * self.hop_samples :]
