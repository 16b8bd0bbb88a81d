"""The frontend: chunks equal the whole, nothing of the future enters, torchaudio's own numbers."""

import pytest
import torch

from edgeseq.training.frontend import LogMel
from edgeseq.training.torchaudio_import import torchaudio

SIZES = (1, 79, 160, 777, 4000)


@pytest.fixture
def frontend():
    module = LogMel(8000, 200, 80, 32, 60.0, 3800.0, 1e-6, 5.0)
    module.mean.fill_(-6.0)
    module.std.fill_(3.0)
    return module


@pytest.fixture
def noise():
    return 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


def run(frontend, audio, size):
    state, parts = frontend.init_state(len(audio)), []
    for chunk in audio.split(size, dim=1):
        frames, state = frontend.step(chunk, state)
        parts.append(frames)
    return torch.cat(parts, dim=1), state


@pytest.mark.parametrize("size", SIZES)
def test_chunks_equal_the_whole(frontend, noise, size):
    whole, whole_state = run(frontend, noise, 4000)
    parts, state = run(frontend, noise, size)
    assert parts.shape == whole.shape == (2, 50, 32)
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
    assert torch.equal(state, whole_state)


def test_every_hop_completes_a_frame(frontend):
    frames, state = frontend.step(torch.zeros(1, 79), frontend.init_state(1))
    assert frames.shape == (1, 0, 32)
    frames, _ = frontend.step(torch.zeros(1, 1), state)
    assert frames.shape == (1, 1, 32)


def test_an_empty_chunk_changes_nothing(frontend):
    state = frontend.init_state(2)
    frames, after = frontend.step(torch.zeros(2, 0), state)
    assert frames.shape == (2, 0, 32) and torch.equal(state, after)


def test_future_samples_leave_past_frames_alone(frontend, noise):
    changed = noise.clone()
    changed[:, 2000:] = 0.5
    before, after = (run(frontend, audio, 4000)[0][:, : 2000 // 80] for audio in (noise, changed))
    assert torch.equal(before, after)


def test_it_is_torchaudios_mel_spectrogram(frontend, noise):
    reference = torchaudio.transforms.MelSpectrogram(
        8000, n_fft=200, win_length=200, hop_length=80, n_mels=32, f_min=60, f_max=3800, center=False
    )
    heard = torch.cat([torch.zeros(2, 120), noise], dim=1)
    wanted = reference(heard).clamp_min(1e-6).log().transpose(1, 2)
    torch.testing.assert_close(frontend.log_mel(heard), wanted, atol=0, rtol=0)


def test_mel_filters_without_a_bin_are_refused():
    with pytest.raises(ValueError, match="Use fewer filters"):
        LogMel(8000, 200, 80, 128, 60.0, 3800.0, 1e-6, 5.0)


def test_torchaudio_imports_beside_a_cpu_torch():
    assert torchaudio.compliance.kaldi.fbank(torch.randn(1, 1600), sample_frequency=8000).shape[1] == 23
