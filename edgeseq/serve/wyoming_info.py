"""What a server says of itself in Wyoming: its models, and the names that it listens for. Made once."""

from __future__ import annotations

import io
from importlib.metadata import version

from wyoming.event import Eventable, write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Info, WakeModel, WakeProgram

from edgeseq.phrases.graph import IntentMark
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.serve.hub import Hub

PROGRAM = "edgeseq"
MADE_BY = Attribution(name="edgeseq", url="")


def info(hub: Hub) -> Info:
    """Describe the server."""
    models = [
        AsrModel(
            name=name,
            attribution=MADE_BY,
            installed=True,
            description=f"{recognizer.metadata.name} ({recognizer.metadata.quantization})",
            version=None,
            languages=[recognizer.metadata.language],
        )
        for name, recognizer in hub.recognizers.items()
    ]
    program = AsrProgram(
        name=PROGRAM,
        attribution=MADE_BY,
        installed=True,
        description="streaming speech recognition on small computers",
        version=version("edgeseq"),
        models=models,
        supports_transcript_streaming=True,
    )
    return Info(asr=[program], wake=_wake_programs(hub))


def _wake_programs(hub: Hub) -> list[WakeProgram]:
    """List the names that are listened for without being given: the intents of the first model's phrases."""
    recognizer = hub.find(None)
    if not isinstance(recognizer.decoder, PhraseDecoder):
        return []
    intents = sorted(
        {mark.intent for marks in recognizer.decoder.graph.outputs for mark in marks if isinstance(mark, IntentMark)}
    )
    models = [
        WakeModel(
            name=intent,
            attribution=MADE_BY,
            installed=True,
            description=f"a phrase of the intent {intent}",
            version=None,
            languages=[recognizer.metadata.language],
            phrase=intent.replace("_", " "),
        )
        for intent in intents
    ]
    about = "phrases of this server, detected when 0.2 s of silence follow them"
    return [
        WakeProgram(
            name=PROGRAM, attribution=MADE_BY, installed=True, description=about, version=version("edgeseq"), models=models
        )
    ]


def written(event: Eventable) -> bytes:
    """Write an event as it is sent."""
    content = io.BytesIO()
    write_event(event.event(), content)
    return content.getvalue()
