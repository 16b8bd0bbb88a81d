"""Public corpora: where they can be fetched, how their folders are recognized, what reads them: Lhotse's recipes, or ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseq.data import an4, commonvoice, speechocean
from edgeseq.data.archives import is_archive, stem, unpack
from edgeseq.data.corpora import ImportRequest, ImportResult, choose_parts, under_licence, write_splits
from edgeseq.data.download import download
from edgeseq.data.lhotse_sets import import_lhotse, of_supervision, warnings_noted
from edgeseq.data.manifest import DATA_VARIABLE, Recording
from edgeseq.errors import EdgeseqError, ManifestError, UsageError

SEARCH_DEPTH = 3
"""How deep below a folder the corpus's own is searched for."""

UNPACKED = "unpacked"
"""Folder, beside the manifests, of what was unpacked: a folder an archive."""

REWRITTEN = "recordings"
"""Folder, beside the manifests, of recordings that no file of the corpus holds in a form that can be read."""

Sets = Mapping[str, Any]
"""Lhotse's `recordings` and `supervisions` of one split."""

Read = Callable[[Path, Sequence[str], Path, list[str]], Iterator[tuple[str, list[Recording]]]]
"""Reads splits of a corpus's folder, one after the other. The second folder is for recordings that must be written in
another form; the list gets what is left out."""


@dataclass(frozen=True)
class Archive:
    """A file at a corpus's public home."""

    url: str
    digest: str
    """as "sha256:d4dd...", as published by torchaudio or by those who read the corpus; "" where none is"""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class PublicCorpus:
    """One corpus."""

    licence: str
    """an SPDX identifier"""
    layout: str
    """what its folder looks like, for messages"""
    is_root: Callable[[Path], bool]
    """is this the corpus's folder?"""
    splits: Callable[[Path], list[str]]
    """of a corpus's folder"""
    read: Read
    archives: Mapping[str, Archive] = field(default_factory=dict)
    """by part; those of the usual parts come first"""
    n_usual: int = 0
    """archives that are fetched where no part is named"""
    by_hand: str = ""
    """where a person finds it"""
    nested: str | None = None
    """glob of archives within an archive"""
    needs_lhotse: bool = True


def import_corpus(request: ImportRequest) -> ImportResult:
    """Write manifests of a public corpus, fetching and unpacking what is not here."""
    corpus = CORPORA[request.name]
    if corpus.needs_lhotse:
        import_lhotse()
    folders = _corpus_folders(corpus, request)
    found = {name: folder for folder in folders for name in corpus.splits(folder)}
    notes: list[str] = []
    splits: dict[str, list[Recording]] = {}
    chosen = choose_parts(request, sorted(found), folders[0].parent if len(folders) > 1 else folders[0])
    with request.stage(f"Reading {request.name}", "splits") as show:
        for folder in folders:
            show(len(splits), len(chosen))
            names = [name for name in chosen if found[name] == folder]
            for name, recordings in corpus.read(folder, names, request.out / REWRITTEN, notes):
                splits[name] = under_licence(recordings, corpus.licence)
                show(len(splits), len(chosen))
    return write_splits(request, splits, folders[0], corpus.licence, notes)


def _corpus_folders(corpus: PublicCorpus, request: ImportRequest) -> list[Path]:
    """Find the corpus in the folder given, in $EDGESEQ_DATA, or in what is unpacked from archives given or fetched."""
    source = request.source
    if source is None:
        kept = os.environ.get(DATA_VARIABLE)
        here = [root for root in (Path(kept) / request.name,) if root.is_dir()] if kept else []
        if folders := [folder for root in here for folder in _roots(corpus, root)]:
            return folders
        archives = None
    elif source.is_dir():
        if folders := _roots(corpus, source):
            return folders
        archives = _known_archives(corpus, source, request.parts)
    elif source.is_file():
        archives = [source]
    else:
        raise UsageError(f"{source}: no such folder or archive. Wanted: {corpus.layout}{_by_hand(corpus)}")
    unpacked = request.out / UNPACKED
    if archives is None:
        _fetch(corpus, request, unpacked)
    for archive in archives or ():
        _unpack(corpus, request, archive, unpacked)
    folders = _roots(corpus, unpacked) if unpacked.is_dir() else []
    if not folders:
        raise ManifestError(f"{source or unpacked}: not found in it: {corpus.layout}{_by_hand(corpus)}")
    return folders


def _roots(corpus: PublicCorpus, folder: Path, depth: int = SEARCH_DEPTH) -> list[Path]:
    if corpus.is_root(folder):
        return [folder]
    if not depth:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [root for path in inner for root in _roots(corpus, path, depth - 1)]


def _known_archives(corpus: PublicCorpus, folder: Path, parts: Sequence[str]) -> list[Path]:
    """List a corpus's archives in a folder, of the parts wanted; whatever archives, where it has no known ones."""
    there = sorted(path for path in folder.iterdir() if is_archive(path))
    if not corpus.archives:
        return there
    named = [part for part in parts if part in corpus.archives]
    wanted = {corpus.archives[part].name for part in named or corpus.archives}
    return [path for path in there if path.name in wanted]


def _fetch(corpus: PublicCorpus, request: ImportRequest, unpacked: Path) -> None:
    if not corpus.archives:
        raise UsageError(f"{request.name} has no address that it can be fetched from without asking.{_by_hand(corpus)}")
    named = [part for part in request.parts if part in corpus.archives]
    unknown = [part for part in request.parts if part not in corpus.archives]
    if unknown and len(corpus.archives) > corpus.n_usual:  # a part is an archive, not a split within one
        raise UsageError(f"{request.name} has no part {', '.join(unknown)}. Choose from: {', '.join(corpus.archives)}.")
    for part in named or list(corpus.archives)[: corpus.n_usual]:
        archive = corpus.archives[part]
        if (unpacked / stem(Path(archive.name))).is_dir():
            continue
        target = request.out / archive.name
        with request.stage(f"Fetching {archive.name}", "bytes") as show:
            download(archive.url, target, digest=archive.digest, on_progress=show, hint=_by_hand(corpus))
        _unpack(corpus, request, target, unpacked)
        target.unlink()


def _unpack(corpus: PublicCorpus, request: ImportRequest, archive: Path, unpacked: Path) -> None:
    with request.stage(f"Unpacking {archive.name}", "bytes") as show:
        unpack(archive, unpacked / stem(archive), nested=corpus.nested, on_progress=show)


def _by_hand(corpus: PublicCorpus) -> str:
    return f"\n  By hand: fetch it from {corpus.by_hand}, and give the archive, or the folder of archives, to --from."


def _by_lhotse(
    recipe: Callable[[Path, Sequence[str]], Iterator[tuple[str, Sets]]], text: Callable[[Any], str] = lambda spoken: spoken.text
) -> Read:
    """Read by a recipe of Lhotse; it fails by whatever it meets where a corpus is not as it was published."""

    def read(folder: Path, splits: Sequence[str], _: Path, notes: list[str]) -> Iterator[tuple[str, list[Recording]]]:
        try:
            with warnings_noted(notes):
                for split, sets in recipe(folder, splits):
                    by_id = {recording.id: recording for recording in sets["recordings"]}
                    lines = [
                        (spoken, of_supervision(by_id[spoken.recording_id], spoken, folder)) for spoken in sets["supervisions"]
                    ]
                    yield split, [replace(line, text=(text(spoken) or "").strip()) for spoken, line in lines]
        except EdgeseqError:
            raise
        except Exception as fault:
            reason = f"{type(fault).__name__}: {fault}".strip().splitlines()[0]
            raise ManifestError(
                f"{folder}: Lhotse's recipe failed at {', '.join(splits)} ({reason}).\n"
                "  If a file is damaged, replace it or take it away with its transcript; if a split is empty, name the others "
                "with --parts."
            ) from fault

    return read


def _subfolders(names: Iterable[str]) -> Callable[[Path], list[str]]:
    return lambda folder: [name for name in names if (folder / name).is_dir()]


LIBRISPEECH_PARTS = (
    ("train-clean-100", "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    ("dev-clean", "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    ("test-clean", "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    ("dev-other", "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    ("test-other", "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
    ("train-clean-360", "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    ("train-other-500", "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
)
MINI_PARTS = (
    ("train-clean-5", "5df7d4e78065366204ca6845bb08f490"),
    ("dev-clean-2", "6d7ab67ac6a1d2c993d050e16d61080d"),
)


def _librispeech(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    from lhotse.recipes.librispeech import prepare_librispeech

    for split in splits:
        yield split, prepare_librispeech(folder, dataset_parts=[split], num_jobs=min(4, os.cpu_count() or 1))[split]


SPEECH_COMMANDS = "speech_commands_v0.0"


def _speechcommands_version(folder: Path) -> str:
    return next((v for v in "21" if (folder / f"{SPEECH_COMMANDS}{v}" / "validation_list.txt").is_file()), "")


def _speechcommands(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    from lhotse.recipes.speechcommands import prepare_speechcommands

    version = _speechcommands_version(folder)
    test = f"speech_commands_test_set_v0.0{version}"
    if not (folder / test).is_dir():
        raise ManifestError(
            f"{folder}: {test} is not beside {SPEECH_COMMANDS}{version}; the corpus is two archives.\n"
            f"  Fetch {test}.tar.gz, too, and give --from a folder that holds both."
        )
    yield from _chosen(prepare_speechcommands(version, folder), splits)


def _chosen(sets: Mapping[str, Sets], splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    return ((split, sets[split]) for split in splits)


def _ljspeech(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    from lhotse.recipes.ljspeech import prepare_ljspeech

    yield splits[0], prepare_ljspeech(folder)


def _vctk(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    from lhotse.recipes.vctk import prepare_vctk

    yield splits[0], prepare_vctk(folder, use_edinburgh_vctk_url=(folder / "wav48_silence_trimmed").is_dir())


def _aishell(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, Sets]]:
    from lhotse.recipes.aishell import prepare_aishell

    yield from _chosen(prepare_aishell(folder), splits)


def _spelled_out(supervision: Any) -> str:
    """LJSpeech's second transcript, in which numbers and abbreviations are written as they are said."""
    return str(supervision.custom["normalized_text"])


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).exists() for name in names)


def _always(*names: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(names)


def _librispeech_of(archives: Mapping[str, Archive], n_usual: int, home: str) -> PublicCorpus:
    splits = _subfolders(archives)
    return PublicCorpus(
        "CC-BY-4.0",
        f"a folder of parts such as {next(iter(archives))}/SPEAKER/CHAPTER/*.flac and *.trans.txt",
        lambda folder: bool(splits(folder)) and folder.name != UNPACKED,
        splits,
        _by_lhotse(_librispeech, lambda spoken: spoken.text.lower()),
        archives,
        n_usual,
        home,
    )


TENSORFLOW = "http://download.tensorflow.org/data"
OPENSLR = "https://www.openslr.org/resources"
LIBRISPEECH_ARCHIVES = {part: Archive(f"{OPENSLR}/12/{part}.tar.gz", f"sha256:{digest}") for part, digest in LIBRISPEECH_PARTS}
MINI_ARCHIVES = {part: Archive(f"{OPENSLR}/31/{part}.tar.gz", f"md5:{digest}") for part, digest in MINI_PARTS}

CORPORA = {
    "librispeech": _librispeech_of(LIBRISPEECH_ARCHIVES | MINI_ARCHIVES, 3, "https://www.openslr.org/12"),
    "minilibrispeech": _librispeech_of(MINI_ARCHIVES, 2, "https://www.openslr.org/31"),
    "commonvoice": PublicCorpus(
        "CC0-1.0",
        "a language's folder with train.tsv, dev.tsv, test.tsv and clips/",
        commonvoice.is_root,
        commonvoice.splits,
        commonvoice.read,
        by_hand="https://commonvoice.mozilla.org, which asks for an address of yours",
        needs_lhotse=False,
    ),
    "speechocean762": PublicCorpus(
        "CC-BY-4.0",
        "a folder with WAVE/, and wav.scp, text and utt2spk in train/ and test/",
        speechocean.is_root,
        speechocean.splits,
        speechocean.read,
        {"all": Archive(f"{OPENSLR}/101/speechocean762.tar.gz", "")},
        n_usual=1,
        by_hand="https://www.openslr.org/101",
        needs_lhotse=False,
    ),
    "an4": PublicCorpus(
        "BSD-2-Clause",
        "a folder with etc/an4_train.transcription and wav/an4_clstk/SPEAKER/*.sph (or .wav, .flac, .raw)",
        an4.is_root,
        an4.splits,
        an4.read,
        {"all": Archive("https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz", "")},
        n_usual=1,
        by_hand="https://huggingface.co/datasets/espnet/an4 (its first home, Carnegie Mellon's site, has it no longer)",
        needs_lhotse=False,
    ),
    "speechcommands": PublicCorpus(
        "CC-BY-4.0",
        "a folder with speech_commands_v0.02/ and speech_commands_test_set_v0.02/",
        lambda folder: bool(_speechcommands_version(folder)),
        _always("train", "valid", "test"),
        _by_lhotse(_speechcommands),
        {
            "speech_commands_v0.02": Archive(
                f"{TENSORFLOW}/speech_commands_v0.02.tar.gz",
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            ),
            "speech_commands_test_set_v0.02": Archive(f"{TENSORFLOW}/speech_commands_test_set_v0.02.tar.gz", ""),
        },
        n_usual=2,
        by_hand=TENSORFLOW,
    ),
    "ljspeech": PublicCorpus(
        "LicenseRef-public-domain",
        "a folder with metadata.csv and wavs/*.wav",
        _holds("metadata.csv", "wavs"),
        _always("all"),
        _by_lhotse(_ljspeech, _spelled_out),
        {
            "all": Archive(
                "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
                "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
            )
        },
        n_usual=1,
        by_hand="https://keithito.com/LJ-Speech-Dataset",
    ),
    "vctk": PublicCorpus(
        "CC-BY-4.0",
        "a folder with speaker-info.txt, txt/ and wav48_silence_trimmed/ (version 0.92) or wav48/",
        _holds("speaker-info.txt", "txt"),
        _always("all"),
        _by_lhotse(_vctk),
        {
            "all": Archive(
                "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
                "sha256:f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
            )
        },
        n_usual=1,
        by_hand="https://datashare.ed.ac.uk/handle/10283/3443",
    ),
    "aishell": PublicCorpus(
        "Apache-2.0",
        "a folder with data_aishell/wav/{train,dev,test}/SPEAKER/*.wav and data_aishell/transcript/",
        lambda folder: (folder / "data_aishell" / "transcript").is_dir(),
        lambda folder: _subfolders(("train", "dev", "test"))(folder / "data_aishell" / "wav"),
        _by_lhotse(_aishell),
        {"all": Archive(f"{OPENSLR}/33/data_aishell.tgz", "md5:2f494334227864a8a8fec932999db9d8")},
        n_usual=1,
        by_hand="https://www.openslr.org/33",
        nested="data_aishell/wav/*.tar.gz",
    ),
}
"""The corpora, by name."""
