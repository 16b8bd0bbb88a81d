"""`edgeseq models`: what is here, what it was trained on, whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.model_card import described
from edgeseq.cli.options import BitsOption
from edgeseq.cli.printing import say
from edgeseq.errors import EdgeseqError, printable
from edgeseq.model.default import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseq.model.metadata import ModelMetadata
    from edgeseq.models import ModelFolder

app = typer.Typer(
    help="List, describe and verify models.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, folder or file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that are found by name.

    It searches the folders of $EDGESEQ_MODELS, ~/.local/share/edgeseq/models, the models of the repository
    and those that came with edgeseq.
    """
    from edgeseq import models

    found = models.list_models()
    if as_json:
        say(json.dumps([{"name": m.name, "folder": str(m.path), "bits": list(m.files)} for m in found]))
    elif not found:
        places = "\n  ".join(str(folder) for folder in models.model_folders())
        say(f"no models found; looked in\n  {places}", err=True)
    else:
        for model in found:
            sizes = ", ".join(f"{bits} bit {p.stat().st_size / 1e6:.2f} MB" for bits, p in model.files.items())
            say(f"{printable(model.name)}  {sizes}{_beside(model)}  {model.path}")


@app.command("info")
def info(model: ModelArgument = DEFAULT_MODEL, bits: BitsOption = None, as_json: JsonOption = False) -> None:
    """Describe a model: what it understands, data, licence, scores.

    \b
    Example:
      edgeseq models info digits-en
    """
    from edgeseq.models import find_model, read_metadata

    path = find_model(model, bits)
    metadata = read_metadata(path)
    if as_json:
        say(json.dumps({"file": str(path), **_fields(metadata)}, ensure_ascii=False))
    else:
        say(described(path, metadata))


@app.command("verify")
def verify(model: ModelArgument = DEFAULT_MODEL, bits: BitsOption = None) -> None:
    """Check that a model file works on this machine.

    It says nothing about how well the model hears: that is `edgeseq eval`.

    \b
    Example:
      edgeseq models verify digits-en
    """
    from edgeseq import models

    path = models.find_model(model, bits)
    say(str(path))
    try:
        for what, seen in models.verify(path):
            say(f"  ok  {what}: {printable(seen)}")
    except EdgeseqError:
        say("  FAILED")
        raise
    say("all checks passed")


def _beside(model: ModelFolder) -> str:
    """Name the companions of a model for a list, in which a model that does not fit spoils nothing."""
    from edgeseq.model.companions import ROLES
    from edgeseq.models import read_metadata

    try:
        metadata = read_metadata(next(iter(model.files.values())))
        found = metadata.with_companions(next(iter(model.files.values()))).companion_files
    except EdgeseqError:
        return ", companions missing or others"
    return "".join(f", {ROLES[role]} {path.stat().st_size / 1e6:.2f} MB" for role, path in found.items())


def _fields(metadata: ModelMetadata) -> dict[str, Any]:
    from edgeseq.model.metadata import stored_fields

    fields = {one.name: getattr(metadata, one.name) for one in stored_fields(metadata)}
    return fields | ({"signature": metadata.signature.to_dict()} if "signature" in fields else {})
