"""Recipes: what is trained, on what and how, as frozen models that are checked before anything starts.

`recipe_file` reads them; past that point nobody sees a dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from edgeseq.training.augment_recipe import AugmentRecipe
from edgeseq.training.recipe_part import Part, Probability, SecondsRange

MOST_RATE = 384_000
"""Hz, of sound"""
MOST_FILTER_VALUES = 1 << 22
"""of the matrix from spectrum to mel energies: 16 MB"""
MOST_WIDTH, MOST_LAYERS = 65_536, 128
"""of a network; a recipe that came with weights may ask for anything"""


class FrontendRecipe(Part):
    """Waveform to log-mel frames: see docs/model-format.md."""

    kind: Literal["log_mel", "kaldi"] = "log_mel"
    """`log_mel`, or Kaldi's filter bank, `kaldi`, whose own defaults are said below; 16 kHz models for general use take it"""
    sample_rate: Annotated[PositiveInt, Field(le=MOST_RATE)] = 8000
    """Hz; kaldi: 16000"""
    win_samples: PositiveInt = 200
    """kaldi: 25 ms"""
    hop_samples: PositiveInt = 80
    """kaldi: 10 ms"""
    n_mels: PositiveInt = 32
    """kaldi: 80, at least 4"""
    f_min: NonNegativeFloat = 60.0
    """Hz; kaldi: 20"""
    f_max: PositiveFloat = 3800.0
    """Hz; kaldi: 400 below half of `sample_rate`"""
    floor: PositiveFloat = 1e-6
    """mel energies below this count as this, before the logarithm; kaldi: the epsilon of float32"""
    limit: PositiveFloat = 5.0
    """normalized log-mel is clamped to plus or minus this many standard deviations"""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_what_kaldi_takes(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("kind") != "kaldi":
            return values
        rate = values.get("sample_rate")
        return _kaldi_defaults(rate if isinstance(rate, int) else 16_000) | dict(values)

    @model_validator(mode="after")
    def _fits_together(self) -> FrontendRecipe:
        if self.hop_samples > self.win_samples:
            raise ValueError(f"hop_samples ({self.hop_samples}) is larger than win_samples ({self.win_samples})")
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min ({self.f_min:g}) < f_max ({self.f_max:g}) <= half of sample_rate ({self.sample_rate / 2:g}) "
                "does not hold"
            )
        if self.win_samples * self.n_mels > MOST_FILTER_VALUES:
            raise ValueError(
                f"win_samples ({self.win_samples}) times n_mels ({self.n_mels}) is more than {MOST_FILTER_VALUES:,}"
            )
        if self.kind == "kaldi" and self.n_mels < 4:
            raise ValueError(f"n_mels ({self.n_mels}): the kind 'kaldi' takes at least 4")
        return self


def _kaldi_defaults(sample_rate: int) -> dict[str, Any]:
    """Give Kaldi's settings as sherpa-onnx has them, at any rate."""
    return {
        "sample_rate": sample_rate,
        "win_samples": sample_rate * 25 // 1000,
        "hop_samples": sample_rate * 10 // 1000,
        "n_mels": 80,
        "f_min": 20.0,
        "f_max": sample_rate / 2 - 400,
        "floor": 2.0**-23,  # the epsilon of float32
    }


class NetworkRecipe(Part):
    """Stacked causal recurrent layers over groups of frames."""

    cell: Literal["gru", "lstm", "rnn"] = "gru"
    hidden_size: Annotated[PositiveInt, Field(le=MOST_WIDTH)] = 192
    num_layers: Annotated[PositiveInt, Field(le=MOST_LAYERS)] = 3
    subsampling: Annotated[PositiveInt, Field(le=MOST_WIDTH)] = 4
    """frames stacked into one recurrent step"""
    rows_per_step: PositiveInt = 1
    """rows of log-probs that one step gives: 2 let a network of 40 ms steps spell quick words at 20 ms a token"""
    layer_norm: bool = False
    """normalize what each layer passes on"""
    projection_size: Annotated[PositiveInt, Field(le=MOST_WIDTH)] | None = None
    """narrow what each layer passes on to this many values"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """between layers"""

    @model_validator(mode="after")
    def _rows_are_whole_frames(self) -> NetworkRecipe:
        if self.subsampling % self.rows_per_step:
            raise ValueError(f"subsampling ({self.subsampling}) is not a multiple of rows_per_step ({self.rows_per_step})")
        return self


class TokensRecipe(Part):
    """What the network's outputs stand for: see docs/tokens.md."""

    kind: Literal["characters", "words", "subwords", "phones", "given"] = "characters"
    """`characters` of the training texts, their whole `words` (for short lists of commands), `subwords` that sentencepiece
    chooses from them, `phones` of a lexicon, or tokens `given` by another model"""
    size: PositiveInt | None = None
    """subwords: how many, such as 200; fewer where the texts do not hold that many"""
    lexicon: str | None = None
    """phones: a file with a word and its phones per line: the words of the model; a path, or under ./data or $EDGESEQ_DATA"""
    word_start: bool = True
    """phones: whether the network says `▁` before each word; without, it has more room in quick speech, and only the lexicon
    knows where words begin"""
    model: str | None = None
    """given: whose tokens, such as those of the model that is fine-tuned; a run, a checkpoint, a model's folder or name"""

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> TokensRecipe:
        for key, kind in (("size", "subwords"), ("lexicon", "phones"), ("model", "given")):
            if (getattr(self, key) is not None) != (self.kind == kind):
                raise ValueError(f"'{key}' belongs to the kind '{kind}', which needs it, and to no other")
        if not self.word_start and self.kind != "phones":
            raise ValueError(f"'word_start: false' belongs to the kind 'phones', and the kind is '{self.kind}'")
        return self


class TaskRecipe(Part):
    """What the network is trained for; each module of `edgeseq.training.tasks` adds its own keys."""

    kind: str = "ctc"
    """`ctc` (words), `frames` (a label a row)"""


def _parse_task(value: Any) -> Any:
    from edgeseq.training.tasks import parse_settings

    return value if isinstance(value, TaskRecipe) else parse_settings(value)


class SourceRecipe(Part):
    """One manifest to train on."""

    manifest: str
    """a path, or a name under ./data or $EDGESEQ_DATA"""
    weight: PositiveFloat = 1.0
    """share of the clips drawn, relative to the other sources"""
    easy: bool = False
    """drawn from in the easy first steps"""
    exclude: tuple[str, ...] = ()
    """speakers left out, as shell patterns"""
    license: str | None = None
    """of recordings whose manifest names none (`licence`)"""
    consecutive: bool = False
    """recordings are stretches of long files (`offset`): rows follow a file from stretch to stretch, the state carried on"""
    others: bool = False
    """other speech: the network learns to write nothing for it, whatever its texts say; recordings whose text holds a word of
    the other manifests are left out, and texts may be empty"""

    @model_validator(mode="after")
    def _other_speech_is_not_easy(self) -> SourceRecipe:
        if self.others and self.easy:
            raise ValueError("'others' holds no word to begin with; take 'easy: true' away")
        return self


class DataRecipe(Part):
    """What is trained on, and what is measured on the way."""

    train: Annotated[tuple[SourceRecipe, ...], Field(min_length=1)]
    licenses: tuple[str, ...] | None = None
    """allowed for recordings to train on, as shell patterns over SPDX identifiers; others, and unknown ones, are refused"""
    min_rows_per_token: NonNegativeFloat = 1.2
    """clips said faster than this are left out: CTC spells one token a row, with a blank between equal ones"""
    valid: tuple[str, ...] = ()
    """manifests that are measured during training; nothing is chosen by them, except with `train.patience`. Recordings
    may be without words (`"text": ""`): those in which words are heard are counted"""

    @model_validator(mode="after")
    def _has_a_beginning(self) -> DataRecipe:
        if not any(source.easy for source in self.train):
            raise ValueError("no source under 'train' is marked 'easy: true'; the first steps need one")
        return self


class JoiningRecipe(Part):
    """Short clips joined to streams: what a microphone hears, state carried from one row to the next."""

    row_seconds: PositiveFloat = 4.0
    """a row of a batch is filled with clips up to this length"""
    gap_seconds: SecondsRange = (0.0, 0.4)
    """between two clips"""
    long_gap: Probability = 0.1
    """share of gaps that are longer, up to `row_seconds` / 2"""
    tail_seconds: NonNegativeFloat = 0.3
    """kept free at a row's end, so that its last word can be reported in time"""
    restart: Probability = 0.3
    """share of rows that begin from a zero state, as a new stream does; the others continue where the row before ended"""
    silence: Probability = 0.03
    """share of rows without a word"""


class AveragingRecipe(Part):
    """Weights averaged over steps: those are measured and exported."""

    kind: Literal["none", "exponential", "uniform"] = "none"
    """`exponential` forgets by `decay`; `uniform` counts the last `last_steps` alike (Izmailov et al. 2018)"""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    last_steps: PositiveInt = 1000


class QuantizeRecipe(Part):
    """Weights rounded in training as an export in this many bits rounds them; activations are left alone."""

    bits: Literal[8, 4]
    from_step: NonNegativeInt = 0
    """the scales are those that fit the weights at this step"""


class TrainRecipe(Part):
    """The optimization: AdamW, linear warm-up, then cosine decay to zero."""

    seed: NonNegativeInt = 1
    steps: PositiveInt = 12000
    batch_size: PositiveInt = 32
    """streams trained side by side, in all processes together; a batch has a row of each"""
    batch_seconds: PositiveFloat | None = None
    """most sound in a batch: where rows are long, some streams wait, their state unchanged"""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)] = "32"
    """of the network's products in training; weights are kept in 32 bit. `auto` is bf16 on processors that multiply it
    (AVX512_BF16, AMX), else 32; a resumed training keeps what it began with"""
    threads: PositiveInt | None = None
    """of each training process on a CPU; by default OMP_NUM_THREADS, or the cores that loaders leave, at most 4"""
    quantize: QuantizeRecipe | None = None
    averaging: AveragingRecipe = AveragingRecipe()
    patience: PositiveInt | None = None
    """stop after this many validations that bring nothing better, and keep the best weights: those with the fewest phones wrong
    where tokens are phones, else words"""
    most_bad_steps: NonNegativeInt = 20
    """steps whose loss or gradient is not a number are skipped; more than this end the training"""
    lr: PositiveFloat = 2e-3
    warmup_steps: NonNegativeInt = 300
    weight_decay: NonNegativeFloat = 1e-2
    grad_clip: PositiveFloat = 1.0
    """largest norm of the gradient"""
    easy_steps: NonNegativeInt = 1500
    """single clean clips of the easy sources, to get CTC going"""
    ramp_steps: NonNegativeInt = 2000
    """from there to full difficulty"""
    valid_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 500
    loggers: tuple[Literal["mlflow", "wandb"], ...] = ()
    """besides TensorBoard: `mlflow`, `wandb` (Weights & Biases); each is an extra of that name"""


class FinetuneRecipe(Part):
    """Weights to begin with, of a network with the same frontend and layers; tokens may differ."""

    weights: str
    """a run's folder, a checkpoint, weights.safetensors, or a released model's folder or name"""
    freeze: NonNegativeInt = 0
    """recurrent layers, from the input on, that stay as they are"""
    shrink: Annotated[float, Field(gt=0, le=1)] = 1.0
    """factor on the weights of all recurrent layers: 0.5 frees units that long training has saturated (Ash and Adams 2020)"""

    @model_validator(mode="after")
    def _frozen_layers_stay(self) -> FinetuneRecipe:
        if self.freeze and self.shrink < 1:
            raise ValueError(
                f"freeze ({self.freeze}) keeps layers as they are, and shrink ({self.shrink:g}) does not; leave one out"
            )
        return self


class ExportRecipe(Part):
    """What `edgeseq export` writes."""

    chunk_ms: PositiveInt = 80
    most_difference: NonNegativeFloat = 1.0
    """of error rates on `data.valid`, in percent of the words, and of phone models of the phones, too: torch on whole clips,
    torch streamed, the float file, quantized files; what differs by more is not written. A single error is always allowed"""
    lexicon: str | None = None
    """of phones: a file of the words that the model includes, instead of those it was trained with; a path, or under ./data
    or $EDGESEQ_DATA"""
    lm: str | None = None
    """a compiled language model (`edgeseq lm build`) that the model includes and searches with; found likewise"""
    guesser: str | None = None
    """of phones: what guesses how words sound that the lexicon lacks; found likewise"""
    beam: PositiveInt | None = None
    """beginnings that the search keeps, where the model has a language model; null: as many as usual"""
    lm_weight: NonNegativeFloat | None = None
    """how much that counts against sound; 0.5"""
    word_bonus: float | None = None
    """nats for each word; 0"""
    blank_penalty: float | None = None
    """nats that blank loses in each row; 0"""
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """of the surest word of an utterance; one with less, noise most likely, is left out; 0"""


class Recipe(Part):
    """All that makes a model, data aside."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    task: Annotated[SerializeAsAny[TaskRecipe], BeforeValidator(_parse_task)] = Field("ctc", validate_default=True)
    """a name, or a mapping with `kind` and the task's own keys"""
    language: str
    license: str
    """of the weights"""
    data_statement: str
    """what the weights were trained on and under which licences; copied into the model file"""
    frontend: FrontendRecipe = FrontendRecipe()
    network: NetworkRecipe = NetworkRecipe()
    tokens: TokensRecipe = TokensRecipe()
    data: DataRecipe
    joining: JoiningRecipe = JoiningRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    finetune: FinetuneRecipe | None = None
    train: TrainRecipe = TrainRecipe()
    export: ExportRecipe = ExportRecipe()

    @property
    def step_samples(self) -> int:
        """Samples of audio in one recurrent step."""
        return self.frontend.hop_samples * self.network.subsampling

    @property
    def row_samples(self) -> int:
        """Samples of audio that one row of log-probs stands for."""
        return self.step_samples // self.network.rows_per_step

    @property
    def chunk_samples(self) -> int:
        """Samples that the exported graph takes at a time."""
        return self.export.chunk_ms * self.frontend.sample_rate // 1000

    @model_validator(mode="after")
    def _freezes_layers_that_are_there(self) -> Recipe:
        if self.finetune is not None and self.finetune.freeze > self.network.num_layers:
            raise ValueError(f"finetune.freeze ({self.finetune.freeze}): the network has {self.network.num_layers} layers")
        return self

    @model_validator(mode="after")
    def _words_alone_have_others(self) -> Recipe:
        if self.task.kind != "ctc" and any(source.others for source in self.data.train):
            raise ValueError(f"data.train: 'others' belongs to the task 'ctc'; '{self.task.kind}' has labels for everything")
        return self

    @model_validator(mode="after")
    def _can_tell_when_to_stop(self) -> Recipe:
        if self.train.patience is not None and not self.data.valid:
            raise ValueError("train.patience: data.valid names no manifest by which to tell whether anything gets better")
        return self

    @model_validator(mode="after")
    def _chunk_holds_whole_steps(self) -> Recipe:
        if (self.export.chunk_ms * self.frontend.sample_rate) % (1000 * self.step_samples):
            step_ms = 1000 * self.step_samples / self.frontend.sample_rate
            raise ValueError(f"export.chunk_ms ({self.export.chunk_ms}) is not a multiple of a step ({step_ms:g} ms)")
        return self
