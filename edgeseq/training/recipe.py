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

from edgeseq.errors import UsageError
from edgeseq.training.augment_recipe import AugmentRecipe
from edgeseq.training.input_recipe import AnyInput, FrontendRecipe
from edgeseq.training.recipe_part import Part, Probability, SecondsRange
from edgeseq.training.removed_keys import without_removed

MOST_WIDTH, MOST_LAYERS = 65_536, 128
"""of a network; a recipe that came with weights may ask for anything"""


class NetworkRecipe(Part):
    """Stacked causal recurrent layers over groups of frames."""

    cell: Literal["gru", "lstm", "rnn"] = "gru"
    """`gru`, `lstm` or `rnn`"""
    hidden_size: Annotated[PositiveInt, Field(le=MOST_WIDTH)] = 192
    num_layers: Annotated[PositiveInt, Field(le=MOST_LAYERS)] = 3
    subsampling: Annotated[PositiveInt, Field(le=MOST_WIDTH)] = 4
    """frames stacked into one recurrent step"""
    rows_per_step: PositiveInt = 1
    """rows of log-probs that one step gives: with 2, a network of 40 ms steps can spell a token every 20 ms"""
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
    """phones: the words of the model, a file with a word and its phones per line; a path, or under ./data or $EDGESEQ_DATA"""
    word_start: bool = True
    """phones: whether the network emits `▁` before each word; without it there is more room for quick speech, and only the
    lexicon knows where words begin"""
    model: str | None = None
    """given: the model whose tokens are used, such as the one that is fine-tuned; a run, a checkpoint, a folder or a name"""

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
    """`ctc` (words), `frames` (a label for each row), `next_token` (the symbol that follows); see docs/tasks.md"""


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
    """whether the first `train.easy_steps` draw from it; at least one source is easy"""
    exclude: tuple[str, ...] = ()
    """speakers left out, as shell patterns"""
    license: str | None = None
    """the licence of recordings whose manifest names none (`licence`)"""
    others: bool = False
    """other speech: the network learns to write nothing for it, whatever its texts say; recordings whose text holds a word of
    the other manifests are left out, and texts may be empty"""

    @model_validator(mode="after")
    def _other_speech_is_not_easy(self) -> SourceRecipe:
        if self.others and self.easy:
            raise ValueError("'others' holds no word to begin with; take 'easy: true' away")
        return self


class DataRecipe(Part):
    """What is trained on, and what is measured during training."""

    train: Annotated[tuple[SourceRecipe, ...], Field(min_length=1)]
    licenses: tuple[str, ...] | None = None
    """licences that training recordings may have, as shell patterns over SPDX identifiers; others, or none, are refused"""
    min_rows_per_token: NonNegativeFloat = 1.2
    """clips spoken faster than this are left out: CTC spells one token per row, with a blank between equal ones"""
    valid: tuple[str, ...] = ()
    """manifests that are measured during training; they choose nothing, except with `train.patience`. Recordings without words
    (`"text": ""`) are allowed: those in which words are heard are counted"""


class JoiningRecipe(Part):
    """How clips are joined to streams, as a microphone hears them; the state is carried from one row to the next."""

    row_seconds: PositiveFloat = 4.0
    """length up to which a row of a batch is filled with clips"""
    row_length: PositiveInt = 128
    """ids and values, which are not joined: most units in a row of a batch; longer sequences continue in the next row"""
    gap_seconds: SecondsRange = (0.0, 0.4)
    """between two clips"""
    tail_seconds: NonNegativeFloat = 0.3
    """kept free at a row's end, so that its last word can be reported in time"""
    restart: Probability = 0.3
    """share of rows that begin from a zero state, as a new stream does; the others continue where the row before ended"""
    silence: Probability = 0.03
    """share of rows without a word"""


class AveragingRecipe(Part):
    """The average of the weights over steps, which is measured and exported."""

    kind: Literal["none", "exponential", "uniform"] = "none"
    """`exponential` forgets by `decay`; `uniform` counts the last `last_steps` alike (Izmailov et al. 2018)"""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    last_steps: PositiveInt = 1000


class QuantizeRecipe(Part):
    """Rounds weights in training as an export in this many bits does; activations are left alone."""

    bits: Literal[8, 4]
    from_step: NonNegativeInt = 0
    """step at which rounding begins; its weights determine the scales"""


class TrainRecipe(Part):
    """The optimization: AdamW, linear warm-up, then cosine decay to zero."""

    seed: NonNegativeInt = 1
    steps: PositiveInt = 12000
    batch_size: PositiveInt = 32
    """streams trained side by side, in all processes together; a batch has a row of each"""
    batch_seconds: PositiveFloat | None = None
    """most sound in a batch; if rows are long, some streams wait, with their state unchanged"""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)] = "32"
    """of matrix products in training; weights are kept in 32 bit. `auto` is bf16 on processors that multiply it (AVX512_BF16,
    AMX), else 32; a resumed training keeps what it began with"""
    threads: PositiveInt | None = None
    """threads of each training process on a CPU; by default OMP_NUM_THREADS, or the cores that loaders leave, at most 4"""
    quantize: QuantizeRecipe | None = None
    averaging: AveragingRecipe = AveragingRecipe()
    patience: PositiveInt | None = None
    """stop after this many validations without an improvement, and keep the best weights: those with the lowest phone error
    rate if tokens are phones, else the lowest WER"""
    most_bad_steps: NonNegativeInt = 20
    """steps whose loss or gradient is not a number are skipped; more than this end the training"""
    lr: PositiveFloat = 2e-3
    warmup_steps: NonNegativeInt = 300
    weight_decay: NonNegativeFloat = 1e-2
    grad_clip: PositiveFloat = 1.0
    """largest norm of the gradient"""
    easy_steps: NonNegativeInt = 1500
    """first steps, on single clean clips of the easy sources"""
    ramp_steps: NonNegativeInt = 2000
    """steps from there to full difficulty"""
    valid_every: PositiveInt = 1000
    """steps"""
    checkpoint_every: PositiveInt = 500
    """steps"""
    loggers: tuple[Literal["mlflow", "wandb"], ...] = ()
    """besides TensorBoard: `mlflow`, `wandb` (Weights & Biases); each is an extra of that name"""


class FinetuneRecipe(Part):
    """Start from the weights of a network with the same frontend and layers; tokens may differ."""

    weights: str
    """a run's folder, a checkpoint, weights.safetensors, or a released model's folder or name"""
    freeze: NonNegativeInt = 0
    """number of recurrent layers, counted from the input, that stay unchanged"""
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
    """milliseconds of sound that the graph takes at a time"""
    chunk_steps: PositiveInt | None = None
    """replaces `chunk_ms`: recurrent steps at a time; 1 if the input is not sound"""
    most_difference: NonNegativeFloat = 1.0
    """largest difference in WER (for phone models also in phone error rate) on `data.valid`, in percent, between torch on whole
    clips, torch streamed, the float file and quantized files; a file that differs by more is not written. A single error is
    always allowed"""
    lexicon: str | None = None
    """phones: the lexicon that the model includes, instead of the one it was trained with; a path, or under ./data or
    $EDGESEQ_DATA"""
    lm: str | None = None
    """a compiled language model (`edgeseq lm build`) that the model includes and searches with; found in the same places"""
    guesser: str | None = None
    """phones: a file (`edgeseq lexicon guesser`) that guesses the sound of words that the lexicon lacks; found in the same
    places"""
    beam: PositiveInt | None = None
    """hypotheses that the search keeps, if the model has a language model; null: the usual number (docs/decoding.md)"""
    lm_weight: NonNegativeFloat | None = None
    """weight of the language model; null: 0.5"""
    word_bonus: float | None = None
    """nats added for each word; null: 0"""
    blank_penalty: float | None = None
    """nats subtracted from blank in each row; null: 0"""
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """leaves out an utterance, most likely noise, in which no word has this confidence; null: 0"""


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
    input: AnyInput = FrontendRecipe()
    network: NetworkRecipe = NetworkRecipe()
    tokens: TokensRecipe = TokensRecipe()
    data: DataRecipe
    joining: JoiningRecipe = JoiningRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    finetune: FinetuneRecipe | None = None
    train: TrainRecipe = TrainRecipe()
    export: ExportRecipe = ExportRecipe()

    @property
    def frontend(self) -> FrontendRecipe:
        """How sound becomes frames. Raises UsageError for a recipe of another input."""
        if isinstance(self.input, FrontendRecipe):
            return self.input
        raise UsageError(
            f"{self.name}: its input is of the kind '{self.input.kind}', and sound is wanted here.\n"
            "  Name a recipe or a model whose input is 'log_mel' or 'kaldi'."
        )

    @property
    def step_units(self) -> int:
        """Units of the input (samples of audio, symbols ...) in one recurrent step."""
        return self.input.units_per_frame * self.network.subsampling

    @property
    def row_units(self) -> int:
        """Units of the input that one row of outputs stands for."""
        return self.step_units // self.network.rows_per_step

    @property
    def row_seconds(self) -> float:
        """Time that one row of outputs stands for."""
        return self.row_units / self.input.rate

    @property
    def tail_units(self) -> int:
        """Units of silence behind what is heard: none where there is no silence."""
        return int(self.joining.tail_seconds * self.input.rate) if self.input.is_sound else 0

    @property
    def chunk_units(self) -> int:
        """Units that the exported graph takes at a time."""
        if self.export.chunk_steps is None and isinstance(self.input, FrontendRecipe):
            return self.export.chunk_ms * self.input.sample_rate // 1000
        return (self.export.chunk_steps or 1) * self.step_units

    @model_validator(mode="before")
    @classmethod
    def _take_other_names(cls, values: Any) -> Any:
        return with_todays_names(values)

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
        if not isinstance(self.input, FrontendRecipe) or self.export.chunk_steps is not None:
            return self
        if (self.export.chunk_ms * self.input.sample_rate) % (1000 * self.step_units):
            step_ms = 1000 * self.step_units / self.input.sample_rate
            raise ValueError(f"export.chunk_ms ({self.export.chunk_ms}) is not a multiple of a step ({step_ms:g} ms)")
        return self

    @model_validator(mode="after")
    def _sound_has_a_beginning(self) -> Recipe:
        if self.input.is_sound and not any(source.easy for source in self.data.train):
            raise ValueError("data: no source under 'train' is marked 'easy: true'; the first steps need one")
        return self

    @model_validator(mode="after")
    def _sound_alone_is_augmented(self) -> Recipe:
        if self.input.is_sound:
            return self
        of_sound = {
            "augment": self.augment != AugmentRecipe(),
            "joining (except for 'row_length')": self.joining != JoiningRecipe(row_length=self.joining.row_length),
            "train.batch_seconds": self.train.batch_seconds is not None,
        }
        for key, is_set in of_sound.items():
            if is_set:
                raise ValueError(f"{key}: it is about sound, and the input is of the kind '{self.input.kind}'; leave it out")
        if self.joining.row_length % self.step_units:
            raise ValueError(
                f"joining.row_length ({self.joining.row_length}) is not a multiple of a step (network.subsampling, "
                f"{self.network.subsampling})"
            )
        return self


OTHER_NAMES = {("input",): ("frontend",), ("tokens",): ("task", "tokens")}
"""Place of a key -> where a recipe may say it, too."""


def with_todays_names(values: Any) -> Any:
    """Put keys of other names where they belong, and leave out those that are gone. Raises ValueError for doubles."""
    if not isinstance(values, Mapping):
        return values
    values = without_removed(values)
    task = values.get("task")
    if "frontend" in values:
        if "input" in values:
            raise ValueError("'frontend' and 'input' are two names of one key; leave one out")
        values["input"] = values.pop("frontend")
    if isinstance(task, Mapping) and "tokens" in task and task.get("kind", "ctc") == "ctc":
        if "tokens" in values:
            raise ValueError("'tokens' stands there twice: under 'task', and by itself; leave one out")
        values["tokens"] = task["tokens"]
        values["task"] = {"kind": "ctc"} | {key: value for key, value in task.items() if key != "tokens"}
    return values
