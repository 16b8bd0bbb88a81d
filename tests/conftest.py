"""Fixtures that many tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

os.environ["OMP_NUM_THREADS"] = "1"
"""Threads of torch wait for one another in loops that take a core each: where others compute as well, two are twenty times
slower than one. It is read when torch and numpy are imported, which is later; programs that tests start inherit it."""

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
"""The same examples at every run; HYPOTHESIS_PROFILE=search looks for others."""

USUAL_BYTES = 100_000_000
"""What a server takes with a small model."""

sys.path.insert(0, str(Path(__file__).parent))  # for helpers such as tone_language.py


@pytest.fixture(scope="session")
def tone_model(tmp_path_factory):
    """A model file whose words are known; see tone_language.py."""
    pytest.importorskip("onnx")
    import tone_language

    return tone_language.save(tmp_path_factory.mktemp("models") / "tones" / "model.onnx")


@pytest.fixture(scope="session")
def tone_recognizer(tone_model):
    import edgeseq

    return edgeseq.load(tone_model)


@pytest.fixture(scope="session")
def tone_run(tmp_path_factory):
    """A run that has learnt two tones; see tiny_tones.py. To be read only."""
    pytest.importorskip("torch")
    import tiny_tones

    return tiny_tones.train_run(tmp_path_factory.mktemp("tone-run"))


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """The sdist and the wheel that is built from it, as a release makes them; no registry is asked."""
    for name in ("build", "hatchling"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("dist")
    env = {**os.environ, "GITHUB_REPOSITORY": "somebody/edgeseq", "GITHUB_SERVER_URL": "https://github.com"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, Path(__file__).parents[1]]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("edgeseq-*.tar.gz"), folder.glob("edgeseq-*.whl")
    return sdist, wheel


@pytest.fixture(autouse=True)
def servers_count_their_own_memory(monkeypatch):
    """A server in the test process counts a usual size and what grows during a test, not torch and what earlier tests left."""
    hub = sys.modules.get("edgeseq.serve.hub")
    if hub is not None:
        measure, before = hub.resident_bytes, hub.resident_bytes()
        for module in (hub, sys.modules.get("edgeseq.serve.transcriptions")):
            if module is not None:
                monkeypatch.setattr(module, "resident_bytes", lambda: measure() - before + USUAL_BYTES)


@pytest.fixture(autouse=True)
def nothing_goes_on_behind_a_test():
    """A test that fails in its middle leaves its programs running; they would listen for ever."""
    import command_line

    yield
    while command_line.STARTED:
        process = command_line.STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.wait()
