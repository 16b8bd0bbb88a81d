"""Names, folders and files to model files, and what is known about them without running them."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.companions import ROLES
from edgeseq.model.default import DEFAULT_MODEL
from edgeseq.model.frames import FramesDetails
from edgeseq.model.metadata import FRAMES, LOG_PROBS, NEXT_TOKEN, CtcMetadata, ModelMetadata
from edgeseq.model.network import Network, NetworkState, check_content, read_model_bytes, rows_of
from edgeseq.model.signature import AUDIO, Port, describe

if TYPE_CHECKING:
    from edgeseq.stream.generator import Generator
    from edgeseq.stream.recognizer import Recognizer
    from edgeseq.stream.spotter import Spotter

FILES = {8: "model.int8.onnx", 4: "model.int4.onnx", 32: "model.onnx"}
"""Bits a weight -> file in a model's folder, in the order of preference."""

ENVIRONMENT = "EDGESEQ_MODELS"
PACKAGE = Path(__file__).parent
RELEASED = PACKAGE / "released"
"""Models in the wheel."""


@dataclass(frozen=True)
class ModelFolder:
    """A model that `edgeseq models list` shows."""

    name: str
    path: Path
    files: dict[int, Path]
    """bits a weight -> file"""


def load(model: str | os.PathLike[str] = DEFAULT_MODEL, bits: int | None = None) -> Recognizer | Spotter | Generator:
    """Open a model by its name, folder or file; in a folder `bits` chooses the file (8, 4 or 32).

    What is returned follows the model's task: a Recognizer for words, a Spotter for labels, a Generator for next symbols.
    Raises UsageError when there is no such model, ModelError when its file cannot be used.
    """
    return open_network(Network(find_model(model, bits)))


def load_recognizer(model: str | os.PathLike[str] = DEFAULT_MODEL, bits: int | None = None) -> Recognizer:
    """Open a model of words; as `load`, but raises UsageError for one of another task."""
    from edgeseq.stream.recognizer import Recognizer

    return Recognizer(Network(find_model(model, bits)))


def load_spotter(model: str | os.PathLike[str], bits: int | None = None) -> Spotter:
    """Open a model of labels; as `load`, but raises UsageError for one of another task."""
    from edgeseq.stream.spotter import Spotter

    return Spotter(Network(find_model(model, bits)))


def open_network(network: Network) -> Recognizer | Spotter | Generator:
    """Make what hears, or reads, with a network, by its task."""
    if network.metadata.task == NEXT_TOKEN:
        from edgeseq.stream.generator import Generator

        return Generator(network)
    if network.metadata.task == FRAMES:
        from edgeseq.stream.spotter import Spotter

        return Spotter(network)
    from edgeseq.stream.recognizer import Recognizer

    return Recognizer(network)


def model_folders() -> list[Path]:
    """List the folders that hold models: $EDGESEQ_MODELS, the user's, the repository's, the wheel's.

    Among several models of one name the first in this order counts.
    """
    named = [Path(part) for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    checkout = PACKAGE.parent
    repository = [checkout / "models"] if (checkout / "pyproject.toml").is_file() else []
    return [*named, _user_folder(), *repository, RELEASED]


def list_models() -> list[ModelFolder]:
    """List the models there are, by name; of one name the first found."""
    found: dict[str, ModelFolder] = {}
    for folder in model_folders():
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            files = _files(path)
            if files and path.name not in found:
                found[path.name] = ModelFolder(path.name, path, files)
    return sorted(found.values(), key=lambda model: model.name)


def find_model(model: str | os.PathLike[str], bits: int | None = None) -> Path:
    """Find a model's file by a name, a folder or a file.

    A folder means its 8-bit file, or the one there is, unless `bits` says which. A plain word is a name
    first and a path second. Raises UsageError when there is no such model or no such file in its
    folder.
    """
    if bits is not None and bits not in FILES:
        raise UsageError(f"--bits {bits}: wanted {', '.join(map(str, FILES))}.")
    path = _named(os.fspath(model)) or Path(model).expanduser()
    if path.is_dir():
        return _choose(path, bits)
    if not path.exists():
        raise UsageError(_not_found(os.fspath(model)))
    wanted = FILES.get(bits or 0)
    if wanted is not None and path.name in FILES.values() and path.name != wanted:
        raise UsageError(f"{path}: not the {bits}-bit file. Name its folder, or leave --bits out.")
    return path


def read_metadata(path: Path) -> ModelMetadata:
    """Read what a model file says about itself; onnxruntime is not loaded. Raises ModelError."""
    return check_content(read_model_bytes(path), path)


def verify(path: Path) -> Iterator[tuple[str, str]]:
    """Check a model file from end to end; yield (what was checked, what was seen) as it goes.

    Raises ModelError at the first check that fails.
    """
    yield "sha256", hashlib.sha256(read_model_bytes(path)).hexdigest()
    metadata = read_metadata(path)
    columns = f"{len(metadata.tokens)} tokens" if isinstance(metadata, CtcMetadata) else describe(metadata.signature.outputs)
    yield "metadata", f"{metadata.name}, {metadata.task}, {columns}, format {metadata.format}"
    network = Network(path)
    for role, companion in network.metadata.companion_files.items():
        yield ROLES[role], f"{companion.name}, {companion.stat().st_size:,} bytes: the one that the model names"
    if network.metadata.companion_files and isinstance(network.metadata, CtcMetadata):
        yield "words", _check_words(network.metadata)
    states = ", ".join(f"{name} {list(a.shape)}" for name, a in network.init_state().items())
    yield "inputs and outputs", f"as the model format says; states: {states or 'none'}"
    noise = _random_units(metadata.signature.input)
    yield "probabilities", _check_probabilities(network, noise)
    yield "streams", _check_neighbours(network, noise)
    yield "chunks equal the whole", _check_chunks(network, noise)


def _random_units(port: Port) -> np.ndarray:
    """A second of noise, or as many symbols or values as make a difference."""
    random = np.random.default_rng(0)
    if port.name == AUDIO:
        return random.normal(0, 0.1, int(port.rate or 0)).astype(np.float32)
    n_units = max(256, 8 * port.per_chunk)
    if port.dtype == "int64":
        return random.integers(max(1, len(port.names)), size=(n_units, *port.shape))
    return random.normal(0, 1, (n_units, *port.shape)).astype(np.float32)


def _check_words(metadata: CtcMetadata) -> str:
    """Open lexicon and language model as a stream does."""
    from edgeseq.decoding.lexicon import known_words
    from edgeseq.decoding.loading import load_beam
    from edgeseq.lm.model import LanguageModel

    load_beam(metadata)
    words, files = known_words(metadata.token_table, metadata.companion_files.get("lexicon")), metadata.companion_files
    if "language_model" not in files:
        return f"{len(words):,} words, no language model"
    lm = LanguageModel(files["language_model"])
    lm.check_whole()
    return f"{f'{len(words):,} words' if words else 'any word'}, a language model of {len(lm):,}"


def _check_probabilities(network: Network, noise: np.ndarray) -> str:
    rows = rows_of(network, noise[None])[0].astype(np.float64)
    is_log = network.metadata.signature.rows.name == LOG_PROBS
    if not is_log and FramesDetails.from_dict(network.metadata.details).activation != "softmax":
        if not (rows.min() >= 0 and rows.max() <= 1):
            raise ModelError(f"{network.path}: its scores lie from {rows.min():.3g} to {rows.max():.3g}; wanted 0 to 1.")
        return f"{len(rows)} rows of noise, all between 0 and 1"
    off = np.abs((np.exp(rows) if is_log else rows).sum(axis=-1) - 1).max()
    if not off < 1e-3:
        raise ModelError(f"{network.path}: the probabilities of a row miss a sum of 1 by {off:.3g}.")
    return f"{len(rows)} rows of noise, each adds up to 1 within {off:.1g}"


def _check_neighbours(network: Network, noise: np.ndarray) -> str:
    alone = rows_of(network, noise[None])[0]
    is_sound = network.metadata.signature.input.name == AUDIO
    other, what = (noise[::-1] * 8, "a louder") if is_sound else (noise[::-1], "another")
    beside = rows_of(network, np.stack([other, noise]))[1]
    off, name = np.abs(alone - beside).max(), network.metadata.signature.rows.name
    if not off < 1e-3:
        raise ModelError(f"{network.path}: a stream's {name} change by {off:.3g} beside {what} stream in its batch.")
    return f"beside {what} stream {name} move by {off:.1g} at most"


def _check_chunks(network: Network, noise: np.ndarray) -> str:
    hearing: Any = open_network(network)
    sizes = (len(noise), 777, 79)
    rows, states = zip(*(_heard_in_pieces(hearing, noise, n) for n in sizes), strict=True)
    if any(events != rows[0] for events in rows) or any(
        not np.array_equal(state[name], states[0][name]) for state in states for name in state
    ):
        raise ModelError(f"{network.path}: noise cut to {sizes} units gives different events or states.")
    is_sound = hearing.port.name == AUDIO
    what, unit = ("a second of noise", "samples") if is_sound else (f"{len(noise):,} random {hearing.port.name}", "units")
    return f"{what} in chunks of {', '.join(map(str, sizes))} {unit}: same events, same states"


def _heard_in_pieces(hearing: Any, noise: np.ndarray, n_units: int) -> tuple[list[Any], NetworkState]:
    events, state = [], hearing.init_state()
    for start in range(0, len(noise), n_units):
        new, state = hearing.step(noise[start : start + n_units], state)
        events += new
    return events, state.network


def _user_folder() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "edgeseq" / "models"


def _named(name: str) -> Path | None:
    if Path(name).name != name or name in ("", ".", ".."):
        return None
    folders = (folder / name for folder in model_folders())
    return next((folder for folder in folders if _files(folder)), None)


def _files(folder: Path) -> dict[int, Path]:
    return {bits: folder / name for bits, name in FILES.items() if (folder / name).is_file()}


def _choose(folder: Path, bits: int | None) -> Path:
    files = _files(folder)
    if not files:
        raise UsageError(f"{folder}: no model in this folder; wanted one of {', '.join(FILES.values())}.")
    if bits is None:
        return next(iter(files.values()))
    if bits not in files:
        there = ", ".join(map(str, files))
        raise UsageError(
            f"{folder}: no {bits}-bit file ({FILES[bits]}); there is {there} bits.\n"
            f"  Leave --bits out, or export it: edgeseq export {folder} --bits {bits} --out {folder}"
        )
    return files[bits]


def _not_found(model: str) -> str:
    names = [found.name for found in list_models()]
    near = difflib.get_close_matches(model, names, n=1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    places = ", ".join(str(folder) for folder in model_folders())
    if (Path("models") / model).is_dir():
        guess += f" Its folder is here: --model models/{model}."
    return (
        f"no model '{model}': neither a name, a folder nor a file.{guess}\n"
        f"  There are: {', '.join(names) or 'none'}. Looked in {places}."
    )
