"""What OpenAI's interface answers: a transcription as json, text, subtitles; errors and their statuses."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from edgeseq.errors import EdgeseqError
from edgeseq.events import Final
from edgeseq.output.subtitles import VTT_HEADER, cues
from edgeseq.serve.access import error_response
from edgeseq.serve.limits import BusyError, FullDiskError, LimitError, StoppingError

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("word", "segment")
RETRY_SECONDS = "5"


@dataclass(frozen=True)
class Transcription:
    """What was said in a file."""

    finals: tuple[Final, ...]
    seconds: float
    """of sound"""
    language: str

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(final.text for final in self.finals)

    @property
    def usage(self) -> dict[str, Any]:
        """What OpenAI would charge for."""
        return {"type": "duration", "seconds": round(self.seconds, 3)}

    def to_response(self, form: str, granularities: Collection[str]) -> web.Response:
        """Answer in one of FORMATS; `granularities` say what verbose_json lists."""
        if form == "json":
            return _json({"text": self.text, "usage": self.usage})
        if form == "verbose_json":
            return _json(self.to_verbose(granularities))
        if form == "text":
            return web.Response(text=self.text + "\n")
        lines = [cue for final in self.finals for cue in cues(final)]
        if form == "vtt":
            return web.Response(text=VTT_HEADER + "".join(cue.to_vtt() for cue in lines), content_type="text/vtt")
        return web.Response(text="".join(cue.to_srt(number) for number, cue in enumerate(lines, start=1)))

    def to_verbose(self, granularities: Collection[str]) -> dict[str, Any]:
        """List segments, each an utterance, and words, as they are asked for."""
        about = {"task": "transcribe", "language": self.language, "duration": round(self.seconds, 3), "text": self.text}
        if "segment" in granularities:
            about["segments"] = [_segment(number, final) for number, final in enumerate(self.finals)]
        if "word" in granularities:
            about["words"] = [
                {"word": word.word, "start": round(word.start, 3), "end": round(word.end, 3)}
                for final in self.finals
                for word in final.words
            ]
        return about | {"usage": self.usage}


def _segment(number: int, final: Final) -> dict[str, Any]:
    """Write an utterance as a segment; what this decoder does not know (seek, tokens, temperature) is empty or 0."""
    content = final.text.encode()
    intent = {} if final.intent is None else {"intent": final.intent, "slots": dict(final.slots)}
    return {
        "id": number,
        "seek": 0,
        "start": round(final.start, 3),
        "end": round(final.end, 3),
        "text": final.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(final.confidence, 1e-9)), 4),
        "compression_ratio": round(len(content) / len(zlib.compress(content)), 3),
        "no_speech_prob": 0.0,
        "confidence": round(final.confidence, 3),
        **intent,
    }


def models(names: Sequence[str], created: int) -> list[dict[str, Any]]:
    """Describe models."""
    return [{"id": name, "object": "model", "created": created, "owned_by": "edgeseq"} for name in names]


def refusal(fault: EdgeseqError) -> web.Response:
    """Answer a request that failed, with the status that fits."""
    status, code = status_of(fault)
    response = error_response(status, sendable(str(fault)), code)
    if status in (429, 503):
        response.headers["Retry-After"] = RETRY_SECONDS
    return response


def status_of(fault: EdgeseqError) -> tuple[int, str]:
    """Choose HTTP's status and a code for programs."""
    if isinstance(fault, NoModelError):
        return 404, "model_not_found"
    if isinstance(fault, FullDiskError):
        return 507, "insufficient_storage"
    if isinstance(fault, StoppingError):
        return 503, "stopping"
    if isinstance(fault, BusyError):
        return 429, "too_many_streams"
    if isinstance(fault, LimitError):
        return 413, "too_large"
    return 400, "invalid_value"


class NoModelError(EdgeseqError):
    """A client named a model that is not there."""


def sendable(text: str) -> str:
    """Replace what JSON can hold and UTF-8 cannot: halves of surrogate pairs that a client sent."""
    return text.encode("utf-8", "replace").decode()


def _json(content: Any) -> web.Response:
    return web.Response(text=json.dumps(content, ensure_ascii=False), content_type="application/json")
