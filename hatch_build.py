"""Puts the released models into the wheel, where edgeseq/models.py looks for them: the 8-bit file and what lies beside it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODELS = ("digits-en",)
NEEDED = ("model.int8.onnx", "README.md")


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
