"""The frontends: chunks equal the whole, nothing of the future enters, torchaudio's and Kaldi's own numbers."""

import numpy as np
import pytest
import torch

from benchmarks.kaldi_frontend import distance, native_fbank, streamed, torchaudio_fbank, unnormalized
from edgeseq.errors import RecipeError
from edgeseq.training.frontend import KaldiFbank, LogMel, build_frontend
from edgeseq.training.input_recipe import FrontendRecipe
from edgeseq.training.torchaudio_import import torchaudio

RATE = 8000
KINDS = {"log_mel": {"sample_rate": RATE}, "kaldi": {"sample_rate": RATE, "n_mels": 32}}
SIZES = (1, 79, 160, 777, 4000)


@pytest.fixture(params=KINDS)
def frontend(request):
    module = build_frontend(FrontendRecipe(kind=request.param, **KINDS[request.param]))
    module.mean.fill_(-6.0)
    module.std.fill_(3.0)
    return module


@pytest.fixture
def noise():
    return 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


def speechlike(seconds, rate=16_000, level=0.1, offset=0.0):
    """A gliding hum of many harmonics in syllables, with a breath of noise between and below them."""
    time = np.arange(round(seconds * rate)) / rate
    hum = sum(np.sin(2 * np.pi * 130 * k * time * (1 + 0.1 * np.sin(time))) / k for k in range(1, 50))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (level * (hum * np.sin(8 * time) ** 2 + 0.01 * noise) + offset).astype(np.float32)


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


def test_every_hop_completes_a_frame_and_leaves_a_state_of_the_same_size(frontend):
    state = frontend.init_state(1)
    for _ in range(5):
        frames, state = frontend.step(torch.zeros(1, 80), state)
        assert frames.shape == (1, 1, 32) and state.shape == frontend.init_state(1).shape


def test_an_empty_chunk_changes_nothing(frontend):
    state = frontend.init_state(2)
    frames, after = frontend.step(torch.zeros(2, 0), state)
    assert frames.shape == (2, 0, 32) and torch.equal(state, after)


def test_rows_side_by_side_are_rows_alone(frontend, noise):
    together, _ = frontend.step(noise, frontend.init_state(2))
    alone = [frontend.step(row[None], frontend.init_state(1))[0] for row in noise]
    assert torch.equal(together, torch.cat(alone))


def test_future_samples_leave_past_frames_alone(frontend, noise):
    changed = noise.clone()
    changed[:, 2000:] = 0.5
    before, after = (run(frontend, audio, 4000)[0][:, : 2000 // 80] for audio in (noise, changed))
    assert torch.equal(before, after)


def test_a_click_is_loudest_in_the_frame_whose_centre_is_nearest(frontend):
    for sample in (1000, 1041):
        click = torch.zeros(1, 4000)
        click[0, sample] = 0.5
        loudest = int(run(frontend, click, 4000)[0][0].sum(dim=1).argmax())
        assert abs(frontend.first_centre + loudest * frontend.hop_samples - sample) <= frontend.hop_samples / 2


def test_gradients_reach_the_samples(frontend, noise):
    noise.requires_grad_(True)
    frontend.log_mel(noise).sum().backward()
    assert torch.isfinite(noise.grad).all() and (noise.grad != 0).any()


def test_all_of_it_moves_to_another_device(frontend):
    """Were a constant left behind, torch would refuse to put the two together."""
    frontend = frontend.to("meta")
    frames, state = frontend.step(torch.zeros(2, 160, device="meta"), frontend.init_state(2))
    assert frames.shape == (2, 2, 32) and frames.device.type == state.device.type == "meta"


def test_log_mel_is_torchaudios_mel_spectrogram(noise):
    reference = torchaudio.transforms.MelSpectrogram(
        8000, n_fft=200, win_length=200, hop_length=80, n_mels=32, f_min=60, f_max=3800, center=False
    )
    heard = torch.cat([torch.zeros(2, 120), noise], dim=1)
    wanted = reference(heard).clamp_min(1e-6).log().transpose(1, 2)
    torch.testing.assert_close(build_frontend(FrontendRecipe()).log_mel(heard), wanted, atol=0, rtol=0)


@pytest.mark.parametrize("size", [1, 160, 777, 4000, 100_000])
@pytest.mark.parametrize(("level", "offset"), [(0.1, 0.0), (1e-3, 0.0), (0.1, 0.05)])
@pytest.mark.parametrize("reference", [native_fbank, torchaudio_fbank])
def test_kaldi_is_kaldis_filter_bank(size, level, offset, reference):
    """Log-mel within 1e-3 where a bin is within 40 dB of its frame's largest, however the sound is cut."""
    if reference is native_fbank:
        pytest.importorskip("kaldi_native_fbank")
    samples = speechlike(0.5 if size == 1 else 3.0, level=level, offset=offset)
    wanted = reference(samples, FrontendRecipe(kind="kaldi"))
    found = distance(streamed(unnormalized(), samples, [size] * 10_000), wanted)
    assert found.frames == len(wanted) - 3
    assert found.near < 1e-3


def test_kaldi_at_8_khz():
    samples = speechlike(2.0, rate=8000)
    recipe = FrontendRecipe(kind="kaldi", sample_rate=8000, n_mels=40)
    found = distance(streamed(unnormalized(8000, n_mels=40), samples, [777] * 100), torchaudio_fbank(samples, recipe))
    assert found.near < 1e-3


def test_frame_0_of_a_stream_is_kaldis_frame_minus_1():
    """It covers samples -280 to 120, of which a stream that begins has heard the last 120."""
    samples = torch.from_numpy(speechlike(0.1))[None]
    frontend = unnormalized()
    assert frontend.first_centre == -80
    first = frontend.step(samples[:, :160], frontend.init_state(1))[0]
    alone = frontend.log_mel(torch.nn.functional.pad(samples[:, :120], (280, 0)))
    torch.testing.assert_close(first, alone)


def test_silence_lies_on_kaldis_floor():
    frames, _ = unnormalized().step(torch.zeros(1, 1600), unnormalized().init_state(1))
    torch.testing.assert_close(frames, torch.full((1, 10, 80), float(np.log(np.finfo(np.float32).eps))))


def test_kaldis_weights_hold_nothing_but_the_statistics():
    assert set(unnormalized().state_dict()) == {"mean", "std"}


@pytest.mark.parametrize("kind", [LogMel, KaldiFbank])
def test_mel_filters_without_a_bin_are_refused(kind):
    with pytest.raises(RecipeError, match="Use fewer filters"):
        kind(8000, 200, 80, 128, 60.0, 3800.0, 1e-6, 5.0)


def test_torchaudio_imports_beside_a_cpu_torch():
    assert torchaudio.compliance.kaldi.fbank(torch.randn(1, 1600), sample_frequency=8000).shape[1] == 23
