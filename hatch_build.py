"""What a wheel and an sdist need besides pyproject.toml.

The released models go into the wheel, where edgeseq/models.py looks for them: the 8-bit file and its companions.
A build that knows its public repository gets links there; the links of README.md are relative, and PyPI cannot follow those.
"""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

MODELS = ("digits-en", "english-small")
NEEDED = ("model.int8.onnx", "README.md")

SERVER, REPOSITORY = "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"
"""Environment variables that GitHub's runners set."""
RELATIVE = re.compile(r"(!?)(\[[^\[\]]*\])\((?!https?://|#)([^)]+)\)")
"""A Markdown link or image to a file of the repository."""


class PublicLinks(MetadataHookInterface):
    """Adds `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Extend the table `project`; without a repository the links stay as they are."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        name = os.environ.get(REPOSITORY)
        if name:
            repository = f"{os.environ.get(SERVER, 'https://github.com')}/{name}"
            tag = f"v{metadata['version']}"
            text = with_public_links(text, repository, tag)
            metadata["urls"] = {
                "Repository": repository,
                "Documentation": f"{repository}/blob/{tag}/docs/README.md",
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_public_links(text: str, repository: str, tag: str) -> str:
    """Make the relative links and images of a page absolute.

    >>> with_public_links("![a](b.png) [c](d.md#e)", "https://github.com/x/y", "v1")
    '![a](https://github.com/x/y/raw/v1/b.png) [c](https://github.com/x/y/blob/v1/d.md#e)'
    """
    return RELATIVE.sub(lambda m: f"{m[1]}{m[2]}({repository}/{'raw' if m[1] else 'blob'}/{tag}/{m[3]})", text)


class ShipModels(BuildHookInterface[Any]):
    """Adds models/NAME/FILE as edgeseq/released/NAME/FILE."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the wheel; an editable install finds models/ by itself."""
        if version == "editable":
            return
        folders = [Path(self.root, "models", model) for model in MODELS]
        wanted = [folder / name for folder in folders for name in (*NEEDED, *_companions(Path(self.root), folder / NEEDED[0]))]
        there = [path for path in wanted if path.is_file()]
        build_data["force_include"] |= {str(path): f"edgeseq/released/{path.parent.name}/{path.name}" for path in there}
        if len(there) < len(wanted):
            lacking = ", ".join(f"{path.parent.name}/{path.name}" for path in wanted if path not in there)
            self.app.display_warning(f"This wheel is not one to publish: models/ lacks {lacking}.")


def _companions(root: Path, model: Path) -> list[str]:
    """List the companions that a model names in its metadata; edgeseq is not installed here, but one module suffices."""
    if not model.is_file():
        return []
    module = runpy.run_path(str(root / "edgeseq" / "model" / "onnx_file.py"), run_name="onnx_file")
    named = json.loads(module["summarize"](model.read_bytes()).metadata.get("edgeseq.companions", "{}"))
    return [entry["file"] for entry in named.values() if "file" in entry]
