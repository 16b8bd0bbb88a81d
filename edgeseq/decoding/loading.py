"""The beam search that a model, its companions and options ask for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeseq.decoding.beam import BeamDecoder, BeamOptions
from edgeseq.decoding.dictation import DictationDecoder, DictationOptions
from edgeseq.decoding.fusion import Fusion, Weights
from edgeseq.decoding.hotwords import Hotword, Hotwords, read_hotwords
from edgeseq.decoding.lexicon import read_lexicon, read_phone_lexicon
from edgeseq.decoding.lexicon_tree import LexiconTree, phone_entries
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.lm.model import LanguageModel
from edgeseq.model.companions import SearchDefaults
from edgeseq.model.metadata import CtcMetadata

AnyBeam = BeamDecoder | DictationDecoder


def load_beam(
    metadata: CtcMetadata,
    options: BeamOptions | None = None,
    *,
    lm: str | Path | None = None,
    lexicon: str | Path | None = None,
    hotwords: str | Path | Iterable[Hotword] | None = None,
    weights: Weights | None = None,
) -> AnyBeam:
    """Make a beam search for a model, ready for `Recognizer.with_decoder`; over a lexicon tree, where tokens are phones.

    lm: a compiled language model. lexicon: a list of the words that may be said (of phones: instead of the model's
    own). Without them those of the model count, if it has companions, and so do its weights and width. hotwords: file or list.
    Raises LanguageModelError and WordListError for files with faults; OSError if one cannot be opened; UsageError for a
    language model of letters where tokens are phones.
    """
    tokens, step_seconds = metadata.token_table, metadata.step_samples / metadata.sample_rate
    own, usual = metadata.companion_files, SearchDefaults.of(metadata.companions)
    is_phones = tokens.kind == "phones"
    lm = lm or own.get("language_model")
    if lexicon is None and not is_phones:
        lexicon = own.get("lexicon")
    if "language_model" in own:
        options = options or BeamOptions(usual.beam, min_confidence=usual.min_confidence)
        weights = weights or Weights(usual.lm_weight, usual.word_bonus, usual.blank_penalty)
    if lexicon is not None and is_phones:
        tokens, lexicon = read_phone_lexicon(Path(lexicon), tokens), None
    words = read_hotwords(Path(hotwords), tokens.language) if isinstance(hotwords, str | Path) else hotwords
    boosted = None if words is None else Hotwords(words, tokens)
    model = None if lm is None else LanguageModel(lm)
    if is_phones:
        ends = WordEnds(LexiconTree(phone_entries(tokens)), model, weights or Weights(), tokens.word_start_id, boosted)
        return DictationDecoder(tokens, step_seconds, ends, _dictation_options(options))
    listed = None if lexicon is None else read_lexicon(Path(lexicon), tokens)
    return BeamDecoder(Fusion(tokens, model, listed, boosted, weights), step_seconds, options)


def _dictation_options(options: BeamOptions | None) -> DictationOptions:
    if options is None:
        return DictationOptions()
    beam = options.beam or DictationOptions.beam
    return DictationOptions(beam, nbest=options.nbest, min_confidence=options.min_confidence)


class ChangingHotwords:
    """A beam search whose hotwords can be replaced between two steps, by any thread; streams keep their states."""

    def __init__(self, decoder: AnyBeam) -> None:
        """Begin with this search."""
        self.current: AnyBeam = decoder

    def change(self, hotwords: Hotwords | None) -> None:
        """Take other hotwords from now on, also for what is being said."""
        self.current = self.current.with_hotwords(hotwords)

    def __getattr__(self, name: str) -> Any:
        """Do whatever a decoder does."""
        return getattr(self.current, name)
