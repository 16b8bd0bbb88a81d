"""What a client of the Realtime interface may set: model, words to expect, form of the sound, when an utterance ends.

Two forms of it are read: that of today (`session.update`, everything under `audio.input`) and the flat one before it
(`transcription_session.update`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.serve.biasing import biased, terms_of_prompt, texts
from edgeseq.serve.choosing import choose_model
from edgeseq.serve.g711 import A_LAW, MU_LAW, from_g711
from edgeseq.serve.hub import Hub
from edgeseq.serve.pcm import Samples, from_pcm16
from edgeseq.sound.blocks import Floats
from edgeseq.stream.endpoint import COMPLETE_SECONDS, Rules, endpoint_rules
from edgeseq.stream.recognizer import Recognizer

PCM_RATE, TELEPHONE_RATE = 24_000, 8_000
LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
"""Hz, of PCM; others than 24,000 are an offer of this server's"""
FLAT_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
READERS: dict[str, Callable[[bytes], Floats]] = {
    "audio/pcm": from_pcm16,
    "audio/pcmu": lambda content: from_g711(content, MU_LAW),
    "audio/pcma": lambda content: from_g711(content, A_LAW),
}
WIDTHS = {"audio/pcm": 2}
"""bytes a sample, of others 1"""
SHORTEST_SILENCE_MS, LONGEST_SILENCE_MS = 50, 30_000
MOST_LETTERS = 64_000
"""of prompt and keywords"""
MOST_PADDING_MS = 10_000


@dataclass(frozen=True)
class TurnDetection:
    """How the server tells when an utterance is over."""

    threshold: float = 0.5
    """kept, but without effect: words tell that somebody speaks, not loudness"""
    prefix_padding_ms: int = 300
    """`speech_started` is sent this much earlier than the first word"""
    silence_duration_ms: int = 500

    def to_dict(self) -> dict[str, Any]:
        """Write it as the protocol has it."""
        return {
            "type": "server_vad",
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }

    @property
    def rules(self) -> Rules:
        """The endpoint rules that mean the same."""
        seconds = self.silence_duration_ms / 1000
        return endpoint_rules(seconds, min(seconds, COMPLETE_SECONDS))


@dataclass(frozen=True)
class Settings:
    """All that a client has set."""

    model: str | None = None
    """None: this server's first"""
    language: str | None = None
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    form: str = "audio/pcm"
    rate: int = PCM_RATE
    """Hz"""
    turns: TurnDetection | None = TurnDetection()
    """None: the client commits"""

    def samples(self) -> Samples:
        """Make what turns a client's bytes into samples."""
        return Samples(READERS[self.form], WIDTHS.get(self.form, 1))

    def recognizer(self, hub: Hub) -> Recognizer:
        """Make what hears by these settings; compiles words, so not for an event loop. Raises UsageError."""
        chosen = choose_model(hub, self.model, self.language)
        chosen = biased(chosen, self.keywords, terms_of_prompt(self.prompt), hub.limits)
        return chosen if self.turns is None else chosen.with_rules(self.turns.rules)

    def to_dict(self, hub: Hub) -> dict[str, Any]:
        """Write them as `session.created` and `session.updated` hold them."""
        form = {"type": self.form, **({"rate": self.rate} if self.form == "audio/pcm" else {})}
        return {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": form,
                    "noise_reduction": None,
                    "transcription": self._transcription(hub),
                    "turn_detection": None if self.turns is None else self.turns.to_dict(),
                }
            },
        }

    def to_flat(self, hub: Hub) -> dict[str, Any]:
        """Write them as the form before had them."""
        names = {form: name for name, form in FLAT_FORMATS.items()}
        return {
            "input_audio_format": names[self.form],
            "input_audio_transcription": self._transcription(hub),
            "turn_detection": None if self.turns is None else self.turns.to_dict(),
        }

    def _transcription(self, hub: Hub) -> dict[str, Any]:
        language = self.language or choose_model(hub, self.model, None).metadata.language
        about = {"model": self.model or hub.default, "language": language, "prompt": self.prompt}
        return about | ({"keywords": list(self.keywords)} if self.keywords else {})

    def updated(self, session: object) -> Settings:
        """Take over what a client's `session` says, in today's form. Raises UsageError."""
        session = _mapping(session, "session")
        kind = session.get("type", "transcription")
        if kind != "transcription":
            raise UsageError(f"session.type is '{str(kind)[:40]}'; this server transcribes: wanted 'transcription'.")
        sound = _mapping(_mapping(session.get("audio") or {}, "session.audio").get("input") or {}, "session.audio.input")
        changed = self
        if sound.get("format") is not None:
            changed = changed._with_format(sound["format"])
        return changed._with_rest(sound, "transcription")

    def updated_flat(self, session: object) -> Settings:
        """Take over what a client's `session` says, in the flat form. Raises UsageError."""
        session = _mapping(session, "session")
        changed = self
        if session.get("input_audio_format") is not None:
            name = session["input_audio_format"]
            if not isinstance(name, str) or name not in FLAT_FORMATS:
                raise UsageError(f"input_audio_format is '{str(name)[:40]}'; wanted {', '.join(FLAT_FORMATS)}.")
            changed = changed._with_format({"type": FLAT_FORMATS[name]})
        return changed._with_rest(session, "input_audio_transcription")

    def _with_format(self, form: object) -> Settings:
        form = _mapping(form, "format")
        kind = form.get("type", "audio/pcm")
        if not isinstance(kind, str) or kind not in READERS:
            raise UsageError(f"format.type is '{str(kind)[:40]}'; wanted {', '.join(READERS)}.")
        if kind != "audio/pcm":
            return replace(self, form=kind, rate=TELEPHONE_RATE)
        return replace(self, form=kind, rate=_whole(form, "rate", LOWEST_RATE, HIGHEST_RATE, PCM_RATE))

    def _with_rest(self, content: Mapping[str, Any], transcription: str) -> Settings:
        changed = self
        if content.get(transcription) is not None:
            changed = changed._with_transcription(_mapping(content[transcription], transcription))
        if "turn_detection" in content:
            changed = replace(changed, turns=_turns(content["turn_detection"]))
        return changed

    def _with_transcription(self, content: Mapping[str, Any]) -> Settings:
        n_letters = sum(map(len, texts(content.get("keywords")))) + len(str(content.get("prompt") or ""))
        if n_letters > MOST_LETTERS:
            raise UsageError(f"a prompt and keywords of {n_letters:,} letters; wanted at most {MOST_LETTERS:,}.")
        return replace(
            self,
            model=_text(content, "model", self.model) or None,
            language=_text(content, "language", self.language) or None,
            prompt=_text(content, "prompt", self.prompt) or "",
            keywords=tuple(texts(content["keywords"])) if "keywords" in content else self.keywords,
        )


def _turns(content: object) -> TurnDetection | None:
    if content is None:
        return None
    content = _mapping(content, "turn_detection")
    if content.get("type", "server_vad") != "server_vad":
        raise UsageError(
            f"turn_detection.type is '{str(content['type'])[:40]}'; wanted server_vad, or null to commit yourself."
        )
    usual = TurnDetection()
    threshold = content.get("threshold")
    if threshold is not None and (not isinstance(threshold, int | float) or not 0 <= threshold <= 1):
        raise UsageError(f"threshold is {str(threshold)[:40]}; wanted 0 to 1.")
    return TurnDetection(
        usual.threshold if threshold is None else float(threshold),
        _whole(content, "prefix_padding_ms", 0, MOST_PADDING_MS, usual.prefix_padding_ms),
        _whole(content, "silence_duration_ms", SHORTEST_SILENCE_MS, LONGEST_SILENCE_MS, usual.silence_duration_ms),
    )


def _mapping(content: object, name: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise UsageError(f"{name} is not a JSON object.")
    return content


def _text(content: Mapping[str, Any], name: str, usual: str | None) -> str | None:
    value = content.get(name, usual)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} is {str(value)[:40]}; wanted a text.")
    return value


def _whole(content: Mapping[str, Any], name: str, low: int, high: int, usual: int) -> int:
    value = content.get(name)
    if value is None:
        return usual
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name} is {str(value)[:40]}; wanted a whole number from {low} to {high}.")
    return value
