"""What a recipe may say of augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from edgeseq.training.recipe_part import Part, PositiveRange, Probability, Range, ascending


class NoiseRecipe(Part):
    """Coloured noise, from white to brown, under the whole row."""

    probability: Probability = 0.8
    snr_db: Range = (5.0, 40.0)


class RecordedNoiseRecipe(Part):
    """Recordings of noise under the whole row; also in rows of silence."""

    probability: Probability = 0.0
    sounds: str | None = None
    """a folder of sound files or a manifest, searched for like training manifests"""
    snr_db: Range = (0.0, 30.0)

    @model_validator(mode="after")
    def _knows_sounds(self) -> RecordedNoiseRecipe:
        if self.probability > 0 and self.sounds is None:
            raise ValueError("'sounds' is missing: a folder of sound files or a manifest (.jsonl)")
        return self


class RoomRecipe(Part):
    """Reverberation: an exponentially decaying random impulse response, unless a measured one is drawn."""

    probability: Probability = 0.4
    t60_seconds: PositiveRange = (0.1, 0.6)
    direct_db: Range = (0.0, 15.0)
    """energy of the direct sound relative to the decaying noise"""
    measured: Probability = 0.0
    """share of rooms that are measured"""
    responses: str | None = None
    """a folder of measured impulse responses, or a manifest of them"""

    @model_validator(mode="after")
    def _knows_responses(self) -> RoomRecipe:
        if self.measured > 0 and self.responses is None:
            raise ValueError("'responses' is missing: a folder of impulse responses or a manifest (.jsonl)")
        return self


class MicrophoneRecipe(Part):
    """A random smooth frequency response."""

    probability: Probability = 0.7
    gain_db: Range = (-9.0, 9.0)
    """at seven frequencies, with straight lines between them"""


class ClippingRecipe(Part):
    """An input driven too hard: the largest samples are cut off."""

    probability: Probability = 0.0
    below_peak_db: Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(ascending)] = (3.0, 15.0)


class BandRecipe(Part):
    """A band-pass filter of 24 dB per octave."""

    probability: Probability = 0.0
    low_hz: PositiveRange = (50.0, 300.0)
    high_hz: PositiveRange = (2500.0, 7000.0)
    """a border above the sound's own band does nothing"""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> BandRecipe:
        if self.low_hz[1] >= self.high_hz[0]:
            raise ValueError(
                f"low_hz ends at {self.low_hz[1]:g}, which is not below where high_hz begins ({self.high_hz[0]:g})"
            )
        return self


class TelephoneRecipe(BandRecipe):
    """A telephone's band, then a codec at 8 kHz: G.711, GSM 06.10."""

    low_hz: PositiveRange = (100.0, 350.0)
    high_hz: PositiveRange = (3000.0, 3800.0)


class SpecAugmentRecipe(Part):
    """Masks and a warp on log-mel (Park et al. 2019; Jaitly and Hinton 2013 for the vocal-tract warp)."""

    mel_masks: NonNegativeInt = 1
    mel_width: NonNegativeInt = 6
    time_masks: NonNegativeInt = 2
    time_width: NonNegativeInt = 8
    """frames"""
    mel_warp: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """the mel axis is stretched by 1 plus or minus at most this"""


class AugmentRecipe(Part):
    """Changes to training sound on the fly, at full difficulty; see docs/augmentation.md."""

    uses: PositiveInt = 1
    """times that augmented sound is used, in groups of 64 batches; more saves time if augmentation is slow"""
    speed: PositiveRange = (0.85, 1.2)
    """resampled: pitch, formants and pace move together"""
    level_db: Range = (-25.0, 10.0)
    """of a row, against clips at -25 dB of full scale"""
    clip_level_db: Range = (-4.0, 4.0)
    """of a clip, against the others of its row"""
    noise: NoiseRecipe = NoiseRecipe()
    recorded_noise: RecordedNoiseRecipe = RecordedNoiseRecipe()
    room: RoomRecipe = RoomRecipe()
    microphone: MicrophoneRecipe = MicrophoneRecipe()
    clipping: ClippingRecipe = ClippingRecipe()
    band: BandRecipe = BandRecipe()
    telephone: TelephoneRecipe = TelephoneRecipe()
    spec_augment: SpecAugmentRecipe = SpecAugmentRecipe()
