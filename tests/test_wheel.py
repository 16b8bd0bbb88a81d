"""What hatch_build.py puts into a wheel and an sdist, and what a registry and a packager see of them.

test_base_install.py installs the wheel.
"""

import email
import re
import runpy
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("onnx")
import tone_language as tones

from edgeseq.model.companions import named

ROOT = Path(__file__).parents[1]
MODELS = ("digits-en", "english-small")


class Hook:
    """As much of hatchling's BuildHookInterface as is used."""

    def __class_getitem__(cls, item):
        return cls

    def __init__(self, root):
        self.root, self.warnings = str(root), []
        self.app = types.SimpleNamespace(display_warning=self.warnings.append)


def hooks_of(monkeypatch):
    """What hatch_build.py defines, without hatchling."""
    for module, name in (("builders.hooks", "BuildHookInterface"), ("metadata", "MetadataHookInterface")):
        parts = ["hatchling", *module.split("."), "plugin", "interface"]
        for n in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:n]), types.ModuleType(parts[n - 1]))
        setattr(sys.modules[".".join(parts)], name, Hook)
    return runpy.run_path(str(ROOT / "hatch_build.py"))


@pytest.fixture
def ship(monkeypatch):
    """Run the hook over a folder that looks like the repository."""
    hook = hooks_of(monkeypatch)["ShipModels"]

    def run(root):
        made, data = hook(root), {"force_include": {}}
        made.initialize("standard", data)
        return {str(Path(path).relative_to(root)): target for path, target in data["force_include"].items()}, made.warnings

    return run


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "edgeseq").symlink_to(ROOT / "edgeseq")
    for model in MODELS:
        folder = tmp_path / "models" / model
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
    files = [f"{model}/{name}" for model in MODELS for name in wanted]
    assert found == {f"models/{file}": f"edgeseq/released/{file}" for file in files}
    assert warnings == []


@pytest.mark.parametrize("name", ["english.lm", "README.md", "model.int8.onnx"])
def test_a_wheel_that_lacks_a_part_is_not_one_to_publish(ship, repository, name):
    (repository / "models" / "digits-en" / name).unlink()
    found, warnings = ship(repository)
    assert f"models/digits-en/{name}" not in found
    assert warnings == [f"This wheel is not one to publish: models/ lacks digits-en/{name}."]


@pytest.mark.parametrize("repository", ["", "somebody/edgeseq"])
def test_links_are_public_where_the_repository_is_known(monkeypatch, repository):
    monkeypatch.setenv("GITHUB_REPOSITORY", repository)
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    metadata = {"version": "1.2.3"}
    hooks_of(monkeypatch)["PublicLinks"](ROOT).update(metadata)
    text = metadata["readme"]["text"]
    if not repository:
        assert text == (ROOT / "README.md").read_text(encoding="utf-8") and "urls" not in metadata
        return
    assert "(https://github.com/somebody/edgeseq/blob/v1.2.3/docs/README.md)" in text
    assert "(https://github.com/somebody/edgeseq/raw/v1.2.3/docs/images/page.png)" in text
    assert metadata["urls"]["Issues"] == "https://github.com/somebody/edgeseq/issues"


MEGABYTE = 1_000_000
MOST_BYTES = {"sdist": 30 * MEGABYTE, "wheel": 15 * MEGABYTE}
"""CONTRIBUTING.md states both."""
NEEDED = {
    *("edgeseq/cli/__init__.py", "models/digits-en/model.int8.onnx", "recipes/ctc.yaml", "docs/README.md", "tests/conftest.py"),
    *("Makefile", ".ci/run", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "NOTICE", "PKG-INFO"),
}
"""What a packager expects in an sdist: the tests, too."""


@pytest.fixture(scope="module")
def metadata(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        (about,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(about).decode())


@pytest.mark.slow
def test_a_registry_takes_both(distributions):
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", *distributions]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


@pytest.mark.slow
def test_sizes_and_what_an_sdist_holds(distributions):
    sizes = {name: path.stat().st_size for name, path in zip(MOST_BYTES, distributions, strict=True)}
    assert all(sizes[name] < most for name, most in MOST_BYTES.items()), sizes
    with tarfile.open(distributions[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held >= NEEDED, NEEDED - held
    assert not {name for name in held if re.search(r"__pycache__|\.venv|^(runs|data|dist)/", name)}


@pytest.mark.slow
def test_the_metadata_are_whole(metadata):
    for name in ("Summary", "Author", "License-Expression", "Requires-Python", "Keywords", "Description-Content-Type"):
        assert metadata[name], name
    labels = {entry.partition(",")[0] for entry in metadata.get_all("Project-URL")}
    assert labels == {"Repository", "Documentation", "Changelog", "Issues"}
    classifiers = set(metadata.get_all("Classifier"))
    assert {"Programming Language :: Python :: 3.11", "Operating System :: POSIX :: Linux"} <= classifiers
    assert f"## [{metadata['Version']}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_a_registry_links_nowhere_in_vain(metadata):
    text = metadata.get_payload()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
