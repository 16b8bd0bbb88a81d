"""Recipes: all faults at once, each with its line and the nearest match."""

import pytest

pytest.importorskip("yaml")

from edgeseq.errors import RecipeError
from edgeseq.training.recipe_file import load_recipe, parse_recipe

MINIMAL = """\
name: tiny
language: en
license: CC0-1.0
data_statement: made up
data:
  train:
    - {manifest: tiny/train.jsonl, easy: true}
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_defaults_fill_what_a_recipe_leaves_out(recipe_file):
    recipe = load_recipe(recipe_file(MINIMAL))
    assert (recipe.step_units, recipe.chunk_units) == (320, 640)


def test_the_shipped_recipe_is_valid():
    from pathlib import Path

    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "ctc.yaml")
    assert recipe.name == "digits-en"
    assert recipe.frontend.sample_rate == 8000


def test_kaldis_frontend_has_defaults_of_its_own(recipe_file):
    frontend = load_recipe(recipe_file(MINIMAL + "frontend: {kind: kaldi}\n")).frontend
    assert (frontend.sample_rate, frontend.win_samples, frontend.hop_samples, frontend.n_mels) == (16000, 400, 160, 80)
    assert (frontend.f_min, frontend.f_max, frontend.limit) == (20, 7600, 5)
    assert frontend.floor == pytest.approx(1.1920929e-07)
    frontend = load_recipe(recipe_file(MINIMAL + "frontend: {kind: kaldi, sample_rate: 8000, n_mels: 40}\n")).frontend
    assert (frontend.win_samples, frontend.hop_samples, frontend.n_mels, frontend.f_max) == (200, 80, 40, 3600)
    overridden = load_recipe(recipe_file(MINIMAL), ["frontend.kind=kaldi"])
    assert overridden.frontend.n_mels == 80
    assert parse_recipe(overridden.model_dump(mode="json"), "stored") == overridden


def test_a_stored_frontend_without_a_kind_is_log_mel(recipe_file):
    frontend = load_recipe(recipe_file(MINIMAL + "frontend: {sample_rate: 16000, n_mels: 40}\n")).frontend
    assert (frontend.kind, frontend.win_samples, frontend.f_max) == ("log_mel", 200, 3800)


def test_overrides_reach_nested_keys_and_lists(recipe_file):
    recipe = load_recipe(
        recipe_file(MINIMAL),
        ["train.steps=7", "augment.noise.snr_db=[1, 2]", "data.train.0.weight=3", "network.cell=lstm"],
    )
    assert recipe.train.steps == 7
    assert recipe.augment.noise.snr_db == (1, 2)
    assert recipe.data.train[0].weight == 3
    assert recipe.network.cell == "lstm"


def test_all_faults_are_reported_at_once_with_lines_and_nearest_match(recipe_file):
    text = MINIMAL + "train:\n  stepps: 5\n  lr: fast\nnetwork: {cell: gru2}\naugment:\n  noise: {snr: [1, 2]}\n"
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file(text))
    message = str(caught.value)
    assert "4 faults" in message
    assert "line 9: train.stepps: unknown key; did you mean 'steps'?" in message
    assert "line 10: train.lr" in message and "'fast'" in message
    assert "line 11: network.cell" in message and "'gru2'" in message
    assert "line 13: augment.noise.snr: unknown key; did you mean 'snr_db'?" in message
    assert caught.value.exit_code == 2


def test_unknown_keys_in_a_list_entry_are_named(recipe_file):
    with pytest.raises(RecipeError, match=r"line 7: data\.train\.0\.wait: unknown key; did you mean 'weight'"):
        load_recipe(recipe_file(MINIMAL.replace("easy: true", "easy: true, wait: 2")))


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("frontend: {f_max: 5000}\n", "half of sample_rate"),
        ("frontend: {hop_samples: 300}\n", "larger than win_samples"),
        ("frontend: {kind: fbank}\n", "line 8: frontend.kind: Input should be 'log_mel' or 'kaldi'"),
        ("frontend: {kind: kaldi, n_mels: 3}\n", "line 8: frontend: n_mels .3.: the kind 'kaldi' takes at least 4"),
        ("frontend: {kind: kaldi, sample_rate: fast}\n", "frontend.sample_rate.*'fast'"),
        ("frontend: {kind: kaldi, sample_rate: 800}\n", "f_max.*greater than 0"),
        ("export: {chunk_ms: 50}\n", "not a multiple of a step"),
        ("augment: {speed: [1.2, 0.8]}\n", "from low to high"),
        ("augment: {speed: [0, 1]}\n", "greater than 0"),
        ("train: {patience: 3}\n", "data.valid names no manifest"),
        ("train: {loggers: mlflow}\n", r"a list is wanted, such as \[one, two\] \(got 'mlflow'\)"),
    ],
)
def test_pairs_of_settings_are_checked(recipe_file, addition, words):
    with pytest.raises(RecipeError, match=words):
        load_recipe(recipe_file(MINIMAL + addition))


def test_tokens_may_stand_in_their_task(recipe_file):
    apart = load_recipe(recipe_file(MINIMAL + "tokens: {kind: subwords, size: 50}\n"))
    together = load_recipe(recipe_file(MINIMAL + "task: {kind: ctc, tokens: {kind: subwords, size: 50}}\n"))
    assert together == apart and together.task.kind == "ctc"
    assert parse_recipe(together.model_dump(mode="json"), "stored") == apart
    with pytest.raises(RecipeError, match=r"line 8: task\.tokens\.kind: .*'words'"):
        load_recipe(recipe_file(MINIMAL + "task: {kind: ctc, tokens: {kind: letters}}\n"))
    with pytest.raises(RecipeError, match="'tokens' stands there twice"):
        load_recipe(recipe_file(MINIMAL + "task: {kind: ctc, tokens: {}}\ntokens: {}\n"))


def test_sound_is_one_input_among_others(recipe_file):
    was = load_recipe(recipe_file(MINIMAL + "frontend: {n_mels: 24}\n"))
    assert load_recipe(recipe_file(MINIMAL + "input: {kind: log_mel, n_mels: 24}\n")) == was
    with pytest.raises(RecipeError, match=r"line 8: input\.n_melz: unknown key; did you mean 'n_mels'\?"):
        load_recipe(recipe_file(MINIMAL + "input: {n_melz: 24}\n"))
    with pytest.raises(RecipeError, match=r"line 8: frontend\.n_melz: unknown key; did you mean 'n_mels'\?"):
        load_recipe(recipe_file(MINIMAL + "frontend: {n_melz: 24}\n"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("augment: {pitch: {probability: 0, semitones: [-3, 3]}}\n", ""),
        ("augment: {pitch: {probability: 0.2}}\n", "augment.pitch: this key has been removed, and 'speed' moves the pitch"),
        ("augment: {room: {simulated: 0.0, simulated_rooms: 100, side_meters: [3, 8]}}\n", ""),
        ("augment: {room: {simulated: 0.5}}\n", "augment.room.simulated: this key has been removed"),
        ("augment: {noise: {color: [0.0, 2.0]}, telephone: {codecs: [mu-law, a-law, gsm]}}\n", ""),
        ("augment: {noise: {color: [1, 2]}}\n", "augment.noise.color: this key has been removed"),
        ("joining: {long_gap: 0.1}\n", ""),
        ("joining: {long_gap: 0.3}\n", "joining.long_gap: this key has been removed, and it is always 0.1"),
    ],
)
def test_keys_that_are_gone_are_read_where_they_did_nothing(recipe_file, said, words):
    if words:
        with pytest.raises(RecipeError, match=words):
            load_recipe(recipe_file(MINIMAL + said))
    else:
        assert load_recipe(recipe_file(MINIMAL + said)) == load_recipe(recipe_file(MINIMAL))


def test_a_source_may_say_that_it_is_not_consecutive(recipe_file):
    stored = MINIMAL.replace("easy: true", "easy: true, consecutive: false")
    assert load_recipe(recipe_file(stored)) == load_recipe(recipe_file(MINIMAL))
    with pytest.raises(RecipeError, match=r"data\.train\.consecutive: this key has been removed"):
        load_recipe(recipe_file(stored.replace("false", "true")))


def test_missing_keys_are_named(recipe_file):
    with pytest.raises(RecipeError, match="license: missing"):
        load_recipe(recipe_file(MINIMAL.replace("license: CC0-1.0\n", "")))


def test_a_recipe_needs_an_easy_source(recipe_file):
    with pytest.raises(RecipeError, match="marked 'easy: true'"):
        load_recipe(recipe_file(MINIMAL.replace(", easy: true", "")))


@pytest.mark.parametrize("override", ["steps", "=5", "train.steps.deep=1", "data.train.9.weight=1", "train.steps=[1"])
def test_a_bad_override_is_named(recipe_file, override):
    with pytest.raises(RecipeError, match="(?s)" + override.split("=")[0].split(".")[0]):
        load_recipe(recipe_file(MINIMAL), [override])


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [unclosed", ""])
def test_files_that_are_no_recipes(recipe_file, text):
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        load_recipe(recipe_file(text))


def test_a_missing_recipe_says_what_to_name(tmp_path):
    with pytest.raises(RecipeError, match=r"recipes/ctc\.yaml"):
        load_recipe(tmp_path / "none.yaml")
