"""How much the frontend `kaldi` differs from kaldi-native-fbank and torchaudio on recordings.

    python -m benchmarks.kaldi_frontend librispeech/test-clean.jsonl

The torch module hears each recording in pieces of random length, the exported graph in chunks of 80 ms. The first frame and the
last two are left out, since Kaldi mirrors the sound there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeseq.data.clips import read_clip
from edgeseq.data.manifest import find_data, read_manifest
from edgeseq.errors import EdgeseqError, MissingExtraError
from edgeseq.export.frontend import build_frontend_graph
from edgeseq.model.session import open_session
from edgeseq.training.frontend import Frontend, build_frontend
from edgeseq.training.input_recipe import FrontendRecipe
from edgeseq.training.torchaudio_import import torchaudio

Floats = npt.NDArray[np.float32]

NEAR = float(np.log(1e4))
"""40 dB as natural logarithm of an energy."""
CHUNK_HOPS = 8
LONGEST_PIECE = 4000
"""samples"""
MIRRORED = slice(1, -2)
"""Kaldi's frames whose windows lie within the sound."""
CLIPS = 200
"""of a manifest, evenly spaced"""


@dataclass(frozen=True)
class Distance:
    """How far two kinds of log-mel are apart."""

    near: float
    """largest difference where a bin is within 40 dB of its frame's largest"""
    anywhere: float
    """largest difference of all"""
    frames: int

    def __or__(self, other: Distance) -> Distance:
        """Put two recordings' together."""
        return Distance(max(self.near, other.near), max(self.anywhere, other.anywhere), self.frames + other.frames)


def distance(found: Floats, wanted: Floats) -> Distance:
    """Compare log-mel with Kaldi's, `[n_frames, n_mels]` each, where Kaldi mirrors nothing; `found` may be longer."""
    kept = wanted[MIRRORED]
    difference = np.abs(found[: len(wanted)][MIRRORED] - kept)
    near = kept >= kept.max(axis=1, keepdims=True) - NEAR
    return Distance(float(difference[near].max(initial=0)), float(difference.max(initial=0)), len(kept))


def unnormalized(sample_rate: int = 16_000, **settings: Any) -> Frontend:
    """Make the frontend so that it gives log-mel as Kaldi does: no statistics, limits out of reach."""
    return build_frontend(FrontendRecipe(kind="kaldi", sample_rate=sample_rate, limit=1000.0, **settings))


def streamed(frontend: Frontend, samples: Floats, pieces: Iterable[int]) -> Floats:
    """Let the torch module hear `samples` `[n_samples]` and the flush behind them in pieces; frames as Kaldi counts them."""
    heard = torch.from_numpy(_with_flush(frontend, samples))[None]
    state, frames, first = frontend.init_state(1), [], 0
    for n_samples in pieces:
        frame, state = frontend.step(heard[:, first : first + n_samples], state)
        frames.append(frame)
        first += n_samples
        if first >= heard.shape[1]:
            break
    return torch.cat(frames, dim=1)[0, 1:].numpy()


def exported(frontend: Frontend) -> Callable[[Floats], Floats]:
    """Build the graph; returns what lets it hear samples `[n_samples]` chunk by chunk, giving frames as Kaldi counts them."""
    chunk_samples = CHUNK_HOPS * frontend.hop_samples
    session = open_session(build_frontend_graph(frontend, chunk_samples).SerializeToString())

    def hear(samples: Floats) -> Floats:
        heard = _with_flush(frontend, samples)
        heard = np.pad(heard, (0, -len(heard) % chunk_samples))
        state, parts = frontend.init_state(1).numpy(), []
        for chunk in heard.reshape(-1, 1, chunk_samples):
            frames, state = session.run(["frames", "state_samples_next"], {"audio": chunk, "state_samples": state})
            parts.append(frames[0])
        return np.concatenate(parts)[1:]

    return hear


def _with_flush(frontend: Frontend, samples: Floats) -> Floats:
    return np.pad(samples, (0, frontend.n_remembered))


def native_fbank(samples: Floats, recipe: FrontendRecipe) -> Floats:
    """Compute log-mel `[n_frames, n_mels]` of `[n_samples]` by kaldi-native-fbank, as sherpa-onnx does.

    Raises MissingExtraError where it is not installed.
    """
    try:
        import kaldi_native_fbank as kaldi
    except ModuleNotFoundError as fault:
        raise MissingExtraError("Comparing needs kaldi-native-fbank: pip install kaldi-native-fbank") from fault
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.frame_opts.samp_freq = recipe.sample_rate
    options.mel_opts.num_bins = recipe.n_mels
    options.mel_opts.low_freq, options.mel_opts.high_freq = 20, -400
    fbank = kaldi.OnlineFbank(options)
    fbank.accept_waveform(recipe.sample_rate, samples)
    fbank.input_finished()
    return np.stack([fbank.get_frame(number) for number in range(fbank.num_frames_ready)])


def torchaudio_fbank(samples: Floats, recipe: FrontendRecipe) -> Floats:
    """Compute log-mel `[n_frames, n_mels]` of `[n_samples]` by torchaudio's filter bank."""
    fbank = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(samples)[None],
        sample_frequency=recipe.sample_rate,
        num_mel_bins=recipe.n_mels,
        low_freq=20.0,
        high_freq=-400.0,
        snip_edges=False,
        dither=0.0,
    )
    return np.asarray(fbank.numpy(), dtype=np.float32)


def compare(recordings: Iterable[Floats], recipe: FrontendRecipe) -> dict[str, Distance]:
    """Compare torch and graph with both references over `recordings`, `[n_samples]` each at the recipe's rate."""
    frontend = unnormalized(recipe.sample_rate, n_mels=recipe.n_mels)
    hear = exported(frontend)
    random = np.random.default_rng(0)
    found: dict[str, Distance] = {}
    for samples in recordings:
        references = {"kaldi-native-fbank": native_fbank(samples, recipe), "torchaudio": torchaudio_fbank(samples, recipe)}
        pieces = iter(lambda: int(random.integers(1, LONGEST_PIECE)), 0)
        for name, frames in (("torch", streamed(frontend, samples, pieces)), ("graph", hear(samples))):
            for reference, wanted in references.items():
                key, here = f"{name}, {reference}", distance(frames, wanted)
                found[key] = found[key] | here if key in found else here
    return found


def read_some(manifest: str, n_clips: int, sample_rate: int) -> Iterable[Floats]:
    """Read that many recordings of a manifest, evenly spaced."""
    recordings = read_manifest(find_data(manifest))
    for recording in recordings[:: max(1, len(recordings) // n_clips)][:n_clips]:
        yield read_clip(recording, sample_rate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of a manifest, or a message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", help="such as librispeech/test-clean.jsonl")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of each, evenly spaced; default: %(default)s")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = FrontendRecipe(kind="kaldi")
    try:
        for manifest in chosen.manifests:
            found = compare(read_some(manifest, chosen.clips, recipe.sample_rate), recipe)
            print(f"{manifest}: {next(iter(found.values())).frames:,} frames")
            for key, one in found.items():
                print(f"  {key:28} within 40 dB {one.near:.1e}   anywhere {one.anywhere:.1e}")
    except EdgeseqError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
