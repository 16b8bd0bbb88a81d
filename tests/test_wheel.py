"""What hatch_build.py puts into the wheel: of each released model the 8-bit file, its card and its companions."""

import runpy
import sys
import types
from pathlib import Path

import pytest

pytest.importorskip("onnx")
import tone_language as tones

from edgeseq.model.companions import named

ROOT = Path(__file__).parents[1]


class Hook:
    """As much of hatchling's BuildHookInterface as is used."""

    def __class_getitem__(cls, item):
        return cls

    def __init__(self, root):
        self.root, self.warnings = str(root), []
        self.app = types.SimpleNamespace(display_warning=self.warnings.append)


@pytest.fixture
def ship(monkeypatch):
    """Run the hook over a folder that looks like the repository."""
    names = ["hatchling", "builders", "hooks", "plugin", "interface"]
    for n in range(1, len(names) + 1):
        monkeypatch.setitem(sys.modules, ".".join(names[:n]), types.ModuleType(names[n - 1]))
    sys.modules["hatchling.builders.hooks.plugin.interface"].BuildHookInterface = Hook
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["ShipModels"]

    def run(root):
        made, data = hook(root), {"force_include": {}}
        made.initialize("standard", data)
        return {str(Path(path).relative_to(root)): target for path, target in data["force_include"].items()}, made.warnings

    return run


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "edgeseq").symlink_to(ROOT / "edgeseq")
    folder = tmp_path / "models" / "digits-en"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("card")
    for name in ("english.lm", "english.lexicon", "model.onnx", "weights.safetensors", "eval.json"):
        (folder / name).write_text(name)
    files = {"language_model": folder / "english.lm", "lexicon": folder / "english.lexicon"}
    tones.save(folder / "model.int8.onnx", companions=named(files))
    return tmp_path


def test_a_model_travels_with_its_companions_and_nothing_else(ship, repository):
    found, warnings = ship(repository)
    wanted = ("model.int8.onnx", "README.md", "english.lm", "english.lexicon")
    assert found == {f"models/digits-en/{name}": f"edgeseq/released/digits-en/{name}" for name in wanted}
    assert warnings == []


@pytest.mark.parametrize("name", ["english.lm", "README.md", "model.int8.onnx"])
def test_a_wheel_that_lacks_a_part_is_not_one_to_publish(ship, repository, name):
    (repository / "models" / "digits-en" / name).unlink()
    found, warnings = ship(repository)
    assert f"models/digits-en/{name}" not in found
    assert warnings == [f"This wheel is not one to publish: models/ lacks digits-en/{name}."]
