"""Waveform to normalized log-mel frames, whole or by chunk.

Two kinds: `LogMel` is torchaudio's `MelSpectrogram` with `center=False`; `KaldiFbank` is Kaldi's filter bank, which sherpa-onnx
computes too. `edgeseq.export` puts the same arithmetic into the graph. A stream begins as if zeros had come before it, and
every hop of samples completes one frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgeseq.errors import RecipeError
from edgeseq.training.batch import Batch
from edgeseq.training.input_layer import LEAST_DEVIATION, InputLayer
from edgeseq.training.input_recipe import FrontendRecipe
from edgeseq.training.state import State
from edgeseq.training.torchaudio_import import torchaudio

SAMPLES = "samples"
"""The state that holds sound not yet framed, `[batch, n_left]`."""
PREEMPHASIS = 0.97
"""Kaldi's: so much of the sample before is subtracted from each sample of a frame, from the first sample of itself."""
POVEY_EXPONENT = 0.85
"""Kaldi's default window is a Hann window to this power."""


class Frontend(InputLayer):
    """Log-mel energies, normalized by fixed training-set statistics and clamped.

    frames = clamp((ln(max(mel, floor)) - mean) / std, -limit, limit); `mean` and `std` are buffers `[n_mels]`. A kind of
    frontend says how samples become `log_mel`, and by what `shape_frames`, `n_fft` and `mel_matrix` a graph computes the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, win_samples: int, hop_samples: int, n_fft: int, n_mels: int, floor: float, limit: float) -> None:
        """Take plain numbers: samples, counts; `limit` is in standard deviations."""
        super().__init__()
        self.win_samples, self.hop_samples, self.n_fft = win_samples, hop_samples, n_fft
        self.floor, self.limit = floor, limit
        self.n_features, self.units_per_frame = n_mels, hop_samples
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    @property
    def n_remembered(self) -> int:
        """Samples that a stream remembers where it has heard a whole number of hops."""
        raise NotImplementedError

    @property
    def first_centre(self) -> float:
        """Centre of a stream's first frame, in samples from the first that was heard: negative, as zeros came before."""
        return self.win_samples / 2 - self.n_remembered

    @property
    def mel_matrix(self) -> Tensor:
        """Weights from power spectrum to mel energies, `[n_fft // 2 + 1, n_mels]`."""
        raise NotImplementedError

    def shape_frames(self, frames: Tensor) -> Tensor:
        """Do all that is linear before the discrete Fourier transform: frames `[..., win_samples]` to the same shape."""
        raise NotImplementedError

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn `samples` `[batch, n_samples]` into log-mel `[batch, n_frames, n_mels]` (natural log), not yet normalized.

        The first frame begins at the first sample.
        """
        raise NotImplementedError

    def init_state(self, batch: int) -> Tensor:
        """Zeros that stand for what came before the stream, `[batch, n_remembered]`."""
        return self.mean.new_zeros(batch, self.n_remembered)

    def init_states(self, batch: int) -> State:
        """Samples that came before the stream: zeros."""
        return {SAMPLES: self.init_state(batch)}

    def advance(self, units: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by samples `[batch, n_samples]`; see `step`."""
        frames, left = self.step(units, state[SAMPLES])
        return frames, {SAMPLES: left}

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Take mean and standard deviation of log-mel, band by band."""
        frames = torch.cat([self.log_mel(batch.audio).flatten(0, 1) for batch in batches])
        self.mean, self.std = frames.mean(dim=0).clone(), frames.std(dim=0).clamp_min(LEAST_DEVIATION).clone()

    def draw(self, batch: int, n_units: int, generator: torch.Generator) -> Tensor:
        """Draw noise; see `random_sound`."""
        return random_sound(batch, n_units, generator)

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
        return self.normalize(self._log_mel_of_rows(heard)), heard[:, n_frames * self.hop_samples :]

    def _log_mel_of_rows(self, samples: Tensor) -> Tensor:
        """Do what `log_mel` does; on a processor row by row, whose cache holds one: two to four times as quick."""
        if samples.device.type != "cpu" or len(samples) <= 1:
            return self.log_mel(samples)
        return torch.cat([self.log_mel(row[None]) for row in samples])


def random_sound(batch: int, n_samples: int, generator: torch.Generator) -> Tensor:
    """Noise at levels from a whisper to full scale, changing over time, each row its own; `[batch, n_samples]` in [-1, 1]."""
    level_db = torch.linspace(-60, 0, n_samples).repeat(batch, 1) - 20 * torch.rand(batch, 1, generator=generator)
    return (torch.randn(batch, n_samples, generator=generator) * 10 ** (level_db / 20)).clamp(-1, 1)


class LogMel(Frontend):
    """Torchaudio's `MelSpectrogram` with `center=False`; frame i covers samples [hop (i + 1) - win, hop (i + 1))."""

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
        super().__init__(win_samples, hop_samples, win_samples, n_mels, floor, limit)
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
        _refuse_empty_filters(self.mel_matrix, win_samples, f_min, f_max)

    @property
    def n_remembered(self) -> int:
        """All of a window but its newest hop."""
        return self.win_samples - self.hop_samples

    @property
    def mel_matrix(self) -> Tensor:
        """Weights from power spectrum to mel energies, `[win_samples // 2 + 1, n_mels]`."""
        return self.mel_spectrogram.mel_scale.fb

    def shape_frames(self, frames: Tensor) -> Tensor:
        """Apply the periodic Hann window."""
        return frames * self.mel_spectrogram.spectrogram.window

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn `samples` `[batch, n_samples]` into log-mel `[batch, n_frames, n_mels]` (natural log), not yet normalized."""
        return self.mel_spectrogram(samples).clamp_min(self.floor).log().transpose(1, 2)


class KaldiFbank(Frontend):
    """Kaldi's log filter bank without dither and energy, `snip_edges` false; samples in [-1, 1] as sherpa-onnx takes them.

    Kaldi puts the centre of frame i at sample hop * i + hop / 2. Such a frame is complete only after the hop that follows its
    own, so frame i here is Kaldi's frame i - 1. Where a window reaches over an end of the sound Kaldi mirrors the sound; a
    live stream cannot and has zeros there.
    """

    window: Tensor
    filters: Tensor

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
        n_fft = 1 << (win_samples - 1).bit_length()
        super().__init__(win_samples, hop_samples, n_fft, n_mels, floor, limit)
        window = torch.hann_window(win_samples, periodic=False).pow(POVEY_EXPONENT)
        filters, _ = torchaudio.compliance.kaldi.get_mel_banks(n_mels, n_fft, sample_rate, f_min, f_max, 100.0, -500.0, 1.0)
        filters = nn.functional.pad(filters, (0, 1))  # none reaches the last bin
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        _refuse_empty_filters(self.mel_matrix, win_samples, f_min, f_max)

    @property
    def n_remembered(self) -> int:
        """The fewest with which every hop completes a frame and frames lie on Kaldi's grid: 280 of windows of 400 every 160."""
        before = self.win_samples // 2 - self.hop_samples // 2
        missing = self.win_samples - self.hop_samples - before
        return before + -(-missing // self.hop_samples) * self.hop_samples

    @property
    def mel_matrix(self) -> Tensor:
        """Weights from power spectrum to mel energies, `[n_fft // 2 + 1, n_mels]`."""
        return self.filters

    def shape_frames(self, frames: Tensor) -> Tensor:
        """Remove each frame's mean, emphasize high frequencies, apply the povey window."""
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        return (frames - PREEMPHASIS * before) * self.window

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn `samples` `[batch, n_samples]` into log-mel `[batch, n_frames, n_mels]` (natural log), not yet normalized.

        What `shape_frames` does to frames is done once to the samples here, except for the mean. A frame's first sample, which
        has none before it, makes no difference: the window begins at zero.
        """
        means = samples.unfold(1, self.win_samples, self.hop_samples).mean(dim=-1, keepdim=True)
        emphasized = torch.cat([samples[:, :1], samples[:, 1:] - PREEMPHASIS * samples[:, :-1]], dim=1)
        frames = emphasized.unfold(1, self.win_samples, self.hop_samples)
        padded = samples.new_zeros(*frames.shape[:2], self.n_fft)
        padded[..., : self.win_samples] = torch.addcmul(frames * self.window, means, self.window, value=PREEMPHASIS - 1)
        spectrum = torch.fft.rfft(padded)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self.mel_matrix).clamp_min(self.floor).log()


KINDS: dict[str, type[LogMel] | type[KaldiFbank]] = {"log_mel": LogMel, "kaldi": KaldiFbank}


def build_frontend(recipe: FrontendRecipe) -> Frontend:
    """Make the frontend of a recipe, its statistics not yet set."""
    return KINDS[recipe.kind](**recipe.model_dump(exclude={"kind"}))


def _refuse_empty_filters(mel_matrix: Tensor, win_samples: int, f_min: float, f_max: float) -> None:
    if bool((mel_matrix.sum(dim=0) == 0).any()):
        raise RecipeError(
            f"{mel_matrix.shape[1]} mel filters between {f_min:g} and {f_max:g} Hz are too many for a window of {win_samples} "
            "samples: some hold no frequency bin.\n  Use fewer filters (frontend.n_mels) or a longer window (win_samples)."
        )
