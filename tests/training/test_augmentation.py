"""Augmentation: what is drawn is what is heard, the same for the same seed, as long and as loud as it was."""

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.errors import ManifestError, RecipeError
from edgeseq.training.augment_recipe import AugmentRecipe, NoiseRecipe, RoomRecipe
from edgeseq.training.augmentation import acoustics, sound_library
from edgeseq.training.augmentation.acoustics import Acoustics, Room, Rooms, draw_microphone
from edgeseq.training.augmentation.chain import RowChain, draw_clip
from edgeseq.training.augmentation.effect import apply_all
from edgeseq.training.augmentation.level import CLIP_LEVEL_DB, ClipLevel, Clipping, RowLevel, loud_rms, rms
from edgeseq.training.augmentation.noise import ColoredNoise, colored_noise, draw_colored_noise, draw_recorded_noise
from edgeseq.training.augmentation.sound_library import SoundLibrary, find_sounds, from_direct_sound
from edgeseq.training.augmentation.speed import Speed
from edgeseq.training.augmentation.telephone import Band, Telephone, through_codec
from edgeseq.training.trainer import load_batches

RATE = 8000
EVERYTHING = {
    "noise": {"probability": 1},
    "room": {"probability": 1},
    "microphone": {"probability": 1},
    "clipping": {"probability": 1},
    "band": {"probability": 1, "high_hz": [2500, 3500]},
    "telephone": {"probability": 1},
}


def speech_like(seconds=1.0, rate=RATE, seed=0):
    """Bursts of a voice's harmonics between pauses."""
    time = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 20))
    bursts = np.clip(np.sin(2 * np.pi * 3 * time), 0, None)
    return (0.05 * voice * bursts + 1e-4 * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


def level_db(samples):
    return 20 * np.log10(rms(samples))


def loudest_hz(samples, rate=RATE):
    windowed = samples * np.hanning(len(samples))
    return np.abs(np.fft.rfft(windowed, 8 * len(samples))).argmax() * rate / (8 * len(samples))


def tone(hz, seconds=1.0, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def noises(tmp_path):
    """A folder of two noises, one at another rate and in a folder of its own."""
    rng = np.random.default_rng(1)
    (tmp_path / "street").mkdir()
    soundfile.write(tmp_path / "hum.wav", 0.2 * rng.standard_normal(RATE // 2), RATE)
    soundfile.write(tmp_path / "street" / "cars.flac", 0.01 * rng.standard_normal(6 * 16_000), 16_000)
    (tmp_path / "notes.txt").write_text("no sound")
    return tmp_path


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), n_samples=st.integers(1, 12_000))
def test_any_row_keeps_its_length_and_range_and_the_seed_says_all(seed, n_samples):
    chain = RowChain(AugmentRecipe.model_validate(EVERYTHING), RATE)
    samples = speech_like(2.0)[:n_samples]
    first, second = (apply_all(chain.draw(n_samples, np.random.default_rng(seed)), samples, RATE) for _ in range(2))
    assert first.shape == samples.shape and first.dtype == np.float32
    assert np.isfinite(first).all() and np.abs(first).max() <= 1
    assert np.array_equal(first, second)


def test_other_seeds_give_other_rows():
    chain = RowChain(AugmentRecipe.model_validate(EVERYTHING), RATE)
    rows = [apply_all(chain.draw(RATE, np.random.default_rng(seed)), speech_like(), RATE) for seed in range(2)]
    assert not np.allclose(*rows)


def test_what_a_recipe_does_not_name_draws_nothing():
    """So that a recipe hears today what it heard before newer augmentations were known."""
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    nothing = {part: {"probability": 0} for part in ("noise", "room", "microphone")}
    (level,) = RowChain(AugmentRecipe.model_validate(nothing), RATE).draw(0, rng)
    assert other.random(3).all()
    assert level == RowLevel(other.uniform(*AugmentRecipe().level_db))
    assert rng.bit_generator.state == other.bit_generator.state


@settings(deadline=None, max_examples=30)
@given(snr_db=st.floats(-5, 40), color=st.floats(0, 2), seed=st.integers(0, 1000))
def test_noise_is_as_far_under_speech_as_was_drawn(snr_db, color, seed):
    samples = speech_like()
    noise = colored_noise(len(samples), color, np.random.default_rng(seed))
    added = ColoredNoise(snr_db, color, noise).apply(samples, RATE) - samples
    assert 20 * np.log10(loud_rms(samples)) - level_db(added) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("color", [0.0, 1.0, 2.0])
def test_noise_has_the_wanted_colour_and_level(color):
    noise = colored_noise(1 << 16, color, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    low, high = power[100:200].mean(), power[10_000:20_000].mean()
    assert np.log(low / high) / np.log(15_000 / 150) == pytest.approx(color, abs=0.1)
    assert rms(noise) == pytest.approx(1, rel=1e-3)


def test_recorded_noise_fills_the_row_at_the_drawn_ratio(noises):
    recipe = AugmentRecipe.model_validate({"recorded_noise": {"probability": 1, "sounds": str(noises)}}).recorded_noise
    samples = speech_like(3.0)
    sounds = SoundLibrary(str(noises), RATE)
    for seed in range(10):
        drawn = draw_recorded_noise(recipe, sounds, len(samples), np.random.default_rng(seed))
        added = drawn.apply(samples, RATE) - samples
        assert 20 * np.log10(loud_rms(samples)) - level_db(added) == pytest.approx(drawn.snr_db, abs=0.2)
        assert all(rms(added[at : at + 800]) > 0 for at in range(0, len(added), 800))
        again = draw_recorded_noise(recipe, sounds, len(samples), np.random.default_rng(seed))
        assert np.array_equal(drawn.noise, again.noise) and "from" in drawn.places


def test_long_noises_are_read_where_they_are_drawn(noises, monkeypatch):
    (noises / "street" / "cars.flac").unlink()  # at another rate; where a stretch begins there is rounded to its own samples
    short = SoundLibrary(str(noises), RATE)
    heard = [short.draw(RATE, np.random.default_rng(seed))[0] for seed in range(5)]
    monkeypatch.setattr(sound_library, "SHORT_SECONDS", 0.0)
    long = SoundLibrary(str(noises), RATE)
    for seed, piece in enumerate(heard):
        assert np.abs(long.draw(RATE, np.random.default_rng(seed))[0] - piece).max() < 1e-2  # of an RMS of 1, stored in 16 bit
    assert not long.reader._cache and short.reader._cache


def test_rows_of_silence_get_recorded_noise_as_loud_as_under_speech(noises):
    recipe = AugmentRecipe.model_validate({"recorded_noise": {"probability": 1, "sounds": str(noises)}}).recorded_noise
    drawn = draw_recorded_noise(recipe, SoundLibrary(str(noises), RATE), RATE, np.random.default_rng(0))
    heard = drawn.apply(np.zeros(RATE, np.float32), RATE)
    assert level_db(heard) == pytest.approx(CLIP_LEVEL_DB - drawn.snr_db, abs=0.1)


def test_sounds_are_found_in_folders_and_manifests(noises, monkeypatch):
    assert [r.path.name for r in find_sounds(str(noises))] == ["hum.wav", "cars.flac"]
    (noises / "some.jsonl").write_text('{"audio_filepath": "hum.wav", "duration": 0.25, "offset": 0.1, "text": ""}\n')
    (listed,) = find_sounds(str(noises / "some.jsonl"))
    assert (listed.offset, listed.duration) == (0.1, 0.25)
    monkeypatch.setenv("EDGESEQ_DATA", str(noises))
    assert [r.path.name for r in find_sounds("street")] == ["cars.flac"]


def test_sounds_that_are_none_are_told(noises, tmp_path):
    with pytest.raises(ManifestError, match="no such folder of sounds"):
        find_sounds("nowhere-at-all")
    (noises / "broken.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(ManifestError, match=r"broken\.wav: cannot be read as sound"):
        find_sounds(str(noises))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="holds no sound"):
        find_sounds(str(tmp_path / "empty"))


@settings(deadline=None, max_examples=20)
@given(t60=st.floats(0.1, 0.8), seed=st.integers(0, 1000))
def test_decaying_noise_decays_by_60_db_in_the_drawn_time(t60, seed):
    room = acoustics.decaying_noise(RoomRecipe(t60_seconds=(t60, t60)), RATE, np.random.default_rng(seed))
    assert decay_seconds(room.response) == pytest.approx(t60, rel=0.2)


def decay_seconds(response):
    """Time of 60 dB of decay, from the slope of Schroeder's integral between -5 and -25 dB."""
    tail = response[1:].astype(np.float64)
    left_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    between = np.flatnonzero((left_db < -5) & (left_db > -25))
    slope = np.polyfit(between / RATE, left_db[between], 1)[0]
    return -60 / slope


def test_measured_rooms_neither_move_nor_raise_speech(tmp_path):
    rng = np.random.default_rng(0)
    response = np.zeros(16_000)
    response[1600] = 1.0  # 100 ms of travel
    response[1700:] = 0.03 * rng.standard_normal(14_300) * np.exp(-np.arange(14_300) / 800)
    soundfile.write(tmp_path / "hall.wav", np.stack([response, np.zeros(16_000)], axis=1), 16_000)
    recipe = RoomRecipe(probability=1, measured=1, responses=str(tmp_path))
    room = Rooms(recipe, RATE).draw(rng)
    assert room.kind == "measured, hall.wav"
    samples = speech_like(2.0)
    heard = Acoustics(room, None).apply(samples, RATE)
    assert heard.shape == samples.shape
    assert level_db(heard) == pytest.approx(level_db(samples), abs=3)
    assert abs(int(np.correlate(heard, samples, "full").argmax()) - (len(samples) - 1)) <= 0.002 * RATE


def test_a_silent_response_is_refused():
    with pytest.raises(ManifestError, match="not an impulse response"):
        from_direct_sound(np.zeros(100, np.float32), RATE, "x.wav")


def test_a_microphone_does_what_its_words_say():
    microphone = draw_microphone(AugmentRecipe().microphone, np.random.default_rng(4))
    for hz, db in ((400, microphone.knots_db[2]), (1000, microphone.knots_db[3]), (2000, microphone.knots_db[4])):
        heard = Acoustics(None, microphone).apply(tone(hz), RATE)
        assert level_db(heard) - level_db(tone(hz)) == pytest.approx(db, abs=0.3)


def test_a_room_of_direct_sound_alone_changes_nothing():
    samples = speech_like()
    assert np.allclose(Acoustics(Room(np.ones(1, np.float32), ""), None).apply(samples, RATE), samples, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(factor=st.floats(0.7, 1.4), hz=st.floats(200, 1500))
def test_speed_moves_length_and_pitch_together(factor, hz):
    moved = Speed(factor).apply(tone(hz), RATE)
    assert len(moved) == pytest.approx(RATE / factor, abs=2)
    assert loudest_hz(moved) == pytest.approx(hz * factor, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(db=st.floats(-10, 10), gain=st.floats(0.01, 10))
def test_clips_come_to_one_level_however_loud_they_were(db, gain):
    assert level_db(ClipLevel(db).apply(gain * speech_like(), RATE)) == pytest.approx(CLIP_LEVEL_DB + db, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(below=st.floats(0.5, 20))
def test_clipping_takes_the_peak_down_and_leaves_the_rest(below):
    samples = speech_like()
    clipped = Clipping(below).apply(samples, RATE)
    assert 20 * np.log10(np.abs(samples).max() / np.abs(clipped).max()) == pytest.approx(below, abs=0.01)
    soft = np.abs(samples) < np.abs(clipped).max()
    assert np.array_equal(clipped[soft], samples[soft])


def test_a_band_lets_through_what_lies_in_it():
    band = Band(300.0, 3000.0)
    passed = {hz: level_db(band.apply(tone(hz), RATE)) - level_db(tone(hz)) for hz in (75, 1000, 3900)}
    assert passed[1000] == pytest.approx(0, abs=0.5)
    assert passed[75] < -40 and passed[3900] < -30
    assert level_db(Band(50.0, 7000.0).apply(tone(3900), RATE)) == pytest.approx(level_db(tone(3900)), abs=0.5)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize(("codec", "least_snr_db"), [("mu-law", 30), ("a-law", 30), ("gsm", 10)])
def test_codecs_lose_what_they_should_and_keep_time(codec, least_snr_db, rate):
    samples = tone(700, rate=rate) * np.linspace(0.1, 1, rate, dtype=np.float32)
    heard = through_codec(samples, codec, rate)
    assert heard.shape == samples.shape and heard.dtype == np.float32
    lost = level_db(samples) - level_db(heard - samples)
    assert least_snr_db < lost < 60


def test_a_telephone_is_silent_above_its_band():
    heard = Telephone(Band(300.0, 3400.0), "a-law").apply(tone(6000, rate=16_000), 16_000)
    assert level_db(heard) < level_db(tone(6000, rate=16_000)) - 40


def test_drawn_values_are_told_in_words(noises):
    recipe = AugmentRecipe.model_validate(EVERYTHING | {"recorded_noise": {"probability": 1, "sounds": str(noises)}})
    drawn = draw_clip(recipe, 1.1, 1.0, np.random.default_rng(0))
    drawn += RowChain(recipe, RATE).draw(RATE, np.random.default_rng(0))
    told = {effect.key: str(effect) for effect in drawn}
    assert "1.10 times as fast" in told["speed"]
    assert "t60" in told["acoustics"] and "dB at 1000 Hz" in told["acoustics"]
    assert "dB under the speech" in told["noise"] and "hum.wav" in told["recorded_noise"] + "hum.wav"
    assert all(told.values())


def test_batches_with_everything_are_functions_of_seed_and_step(tiny_recipe, noises):
    recipe = tiny_recipe(augment=EVERYTHING | {"recorded_noise": {"probability": 0.5, "sounds": str(noises)}})
    first, second = load_batches(recipe), load_batches(recipe)
    second[8]  # what was made before changes nothing
    assert np.array_equal(first[9].audio.numpy(), second[9].audio.numpy())
    halves = [first.of_rows(range(2)), first.of_rows(range(2, 4))]
    shares = np.concatenate([half[9].audio.numpy() for half in halves])
    assert np.array_equal(first[9].audio.numpy(), shares)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"recorded_noise": {"probability": 0.5}}, "'sounds' is missing"),
        ({"room": {"measured": 0.5}}, "'responses' is missing"),
        ({"band": {"low_hz": [50, 3000]}}, "low_hz ends"),
        ({"telephone": {"codecs": ["g721"]}}, "telephone.codecs: this key has been removed, and they are always mu-law"),
        ({"pitch": {"probability": 0.3}}, "augment.pitch: this key has been removed"),
        ({"clipping": {"below_peak_db": [9, 3]}}, "from low to high"),
    ],
)
def test_recipes_that_cannot_be_followed_are_refused(tiny_recipe, augment, message):
    with pytest.raises(RecipeError, match=message):
        tiny_recipe(augment=augment)


def test_a_noise_ratio_is_drawn_within_its_range():
    recipe = NoiseRecipe(snr_db=(7.0, 9.0))
    drawn = [draw_colored_noise(recipe, 10, np.random.default_rng(seed)) for seed in range(50)]
    assert all(7 <= one.snr_db <= 9 and 0 <= one.color <= 2 for one in drawn)
