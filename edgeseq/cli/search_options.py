"""Options of the beam search, which several commands share: a command decorated by `searches` has them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from edgeseq.errors import UsageError

if TYPE_CHECKING:
    from edgeseq.decoding.decoder import Decoder
    from edgeseq.decoding.hotwords import Hotword
    from edgeseq.decoding.loading import AnyBeam
    from edgeseq.model.metadata import CtcMetadata


@dataclass(frozen=True)
class Search:
    """What a command line asks of the beam search; a field an option."""

    beam: Annotated[
        int | None,
        typer.Option(
            "--beam",
            min=1,
            max=1000,
            metavar="N",
            help="Keep the N likeliest hypotheses.  [default: the model's, or 200 for phones; 8 with any option below]",
        ),
    ] = None
    lm: Annotated[
        Path | None, typer.Option("--lm", metavar="FILE.lm", help="Weigh words by a language model (see `edgeseq lm`).")
    ] = None
    lm_weight: Annotated[
        float | None,
        typer.Option("--lm-weight", metavar="W", help="Weight of the language model.  [default: the model's, or 0.5]"),
    ] = None
    word_bonus: Annotated[
        float | None,
        typer.Option("--word-bonus", metavar="NATS", help="Bonus for each word.  [default: the model's, or 0]"),
    ] = None
    blank_penalty: Annotated[
        float | None,
        typer.Option(
            "--blank-penalty",
            metavar="NATS",
            help="Penalty for blank in each row; more gives more letters or phones.  [default: the model's, or 0]",
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence",
            min=0,
            max=1,
            metavar="P",
            help="Leave out utterances in which no word has this confidence.  [default: the model's, or 0]",
        ),
    ] = None
    lexicon: Annotated[
        Path | None, typer.Option("--lexicon", metavar="FILE", help="Understand only the words of this list.")
    ] = None
    hotwords: Annotated[Path | None, typer.Option("--hotwords", metavar="FILE", help="Prefer these names and phrases.")] = None
    hotword: Annotated[
        list[str] | None,
        typer.Option(
            "--hotword", metavar="PHRASE[:BOOST]", help="One such phrase; may be repeated. The boost is in nats per letter."
        ),
    ] = None
    nbest: Annotated[
        int | None, typer.Option("--nbest", min=1, max=1000, metavar="N", help="Write the N best texts of each final (jsonl).")
    ] = None

    greedy: Annotated[
        bool | None,
        typer.Option("--greedy", help="Take the best symbol of each row, without a search."),
    ] = None

    def decoder(self, metadata: CtcMetadata, phrases: Path | None = None) -> AnyBeam | Decoder[Any] | None:
        """Make the search that is asked for, None if none is. Raises UsageError for options that exclude each other."""
        given = [option.name for option in fields(self) if getattr(self, option.name) not in (None, [])]
        if not given:
            return None
        if phrases is not None:
            raise UsageError("--phrases searches its phrases and nothing else; leave out --beam and the options of the beam.")
        if self.greedy:
            return _greedy(given, metadata)
        own = metadata.companion_files
        if self.lm is None and self.lm_weight is not None and "language_model" not in own:
            raise UsageError("--lm-weight is about a language model; give --lm FILE.lm, too.")
        from edgeseq.decoding.beam import BeamOptions
        from edgeseq.decoding.fusion import Weights
        from edgeseq.decoding.loading import load_beam
        from edgeseq.model.companions import SearchDefaults

        usual = SearchDefaults.of(metadata.companions)
        return load_beam(
            metadata,
            BeamOptions(
                self.beam or usual.beam,
                nbest=self.nbest or 1,
                min_confidence=usual.min_confidence if self.min_confidence is None else self.min_confidence,
            ),
            lm=self.lm,
            lexicon=self.lexicon,
            hotwords=self.all_hotwords(metadata.language),
            weights=Weights(
                usual.lm_weight if self.lm_weight is None else self.lm_weight,
                usual.word_bonus if self.word_bonus is None else self.word_bonus,
                usual.blank_penalty if self.blank_penalty is None else self.blank_penalty,
            ),
        )

    def all_hotwords(self, language: str = "") -> list[Hotword] | None:
        """Read the file's hotwords and add those of the command line, which count where both have one; None without any."""
        if self.hotwords is None and not self.hotword:
            return None
        from edgeseq.decoding.hotwords import parse_hotword, read_hotwords

        typed = [parse_hotword(text, language) for text in self.hotword or []]
        listed = [] if self.hotwords is None else read_hotwords(self.hotwords, language)
        names = {hotword.phrase for hotword in typed}
        return [*(hotword for hotword in listed if hotword.phrase not in names), *typed]


def _greedy(given: list[str], metadata: CtcMetadata) -> Decoder[Any]:
    if given != ["greedy"]:
        others = ", ".join("--" + name.replace("_", "-") for name in given if name != "greedy")
        raise UsageError(f"--greedy searches nothing; leave out {others}, or --greedy.")
    from edgeseq.decoding.greedy import GreedyDecoder

    return GreedyDecoder(metadata)


def searches(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the beam search; it gets them as its argument `search`."""
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in get_type_hints(Search, include_extras=True).items()
    ]
    names = [option.name for option in options]

    @wraps(command)
    def with_search(**given: Any) -> None:
        search = Search(**{name: given.pop(name) for name in names})
        command(**given, search=search)

    hints = get_type_hints(command, {**command.__globals__, "Search": Search}, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "search"
    ]
    shown = [*own, *options]
    with_search.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    with_search.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    del with_search.__wrapped__
    return with_search
