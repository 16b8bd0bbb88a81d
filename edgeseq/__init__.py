"""From a microphone to words, live, on small computers.

>>> import edgeseq
>>> recognizer = edgeseq.load("digits-en")                # doctest: +SKIP
>>> recognizer.transcribe("three-one-four.wav").text      # doctest: +SKIP
'three one four'

Public names are loaded when they are first used, so that `import edgeseq` is quick.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq.errors import EdgeseqError
    from edgeseq.events import Detection, Event, Final, Gap, Partial, Word
    from edgeseq.models import load
    from edgeseq.stream.generator import Generator
    from edgeseq.stream.recognizer import Recognizer
    from edgeseq.stream.spotter import Spotter
    from edgeseq.stream.state import State

NO_REPORTS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Environment variables that keep packages below edgeseq from reporting to their makers (docs/privacy.md). onnxruntime
reads its own when it is imported, so they are set here, before anything else; a value from outside stays."""

for _name, _value in NO_REPORTS.items():
    os.environ.setdefault(_name, _value)

__all__ = [
    "Detection",
    "EdgeseqError",
    "Event",
    "Final",
    "Gap",
    "Generator",
    "Partial",
    "Recognizer",
    "Spotter",
    "State",
    "Word",
    "load",
]

_HOMES = {
    "Detection": "events",
    "EdgeseqError": "errors",
    "Event": "events",
    "Final": "events",
    "Gap": "events",
    "Generator": "stream.generator",
    "Partial": "events",
    "Recognizer": "stream.recognizer",
    "Spotter": "stream.spotter",
    "State": "stream.state",
    "Word": "events",
    "load": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseq' has no attribute '{name}'")
    return getattr(import_module(f"edgeseq.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
