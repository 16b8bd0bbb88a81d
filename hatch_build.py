"""Puts the released 8-bit model into the wheel, where edgeseq/models.py looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODELS = ("digits-en",)
FILES = ("model.int8.onnx", "README.md")


class ShipModels(BuildHookInterface[Any]):
    """Adds models/NAME/FILE as edgeseq/released/NAME/FILE."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the wheel; an editable install finds models/ by itself."""
        if version == "editable":
            return
        wanted = [f"{model}/{file}" for model in MODELS for file in FILES]
        found = {Path(self.root, "models", name): f"edgeseq/released/{name}" for name in wanted}
        found = {path: target for path, target in found.items() if path.is_file()}
        build_data["force_include"] |= {str(path): target for path, target in found.items()}
        if len(found) < len(wanted):
            self.app.display_warning(f"This wheel is not one to publish: models/ lacks some of {', '.join(wanted)}.")
