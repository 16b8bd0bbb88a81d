"""Recipes that allow some licences only."""

import json

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.errors import RecipeError
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.trainer import load_batches


@pytest.fixture
def with_licences(tone_corpus, tiny_recipe):
    """A manifest of tones, half of them under a licence, and a recipe that allows `licenses`."""
    lines = [json.loads(line) for line in tone_corpus.read_text().splitlines()]
    licensed = [line | {"licence": "GPL-3.0-or-later"} for line in lines[:6]] + lines[6:]
    manifest = tone_corpus.parent / "licensed.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in licensed))

    def make(licenses, **source):
        return tiny_recipe(data={"train": [{"manifest": str(manifest), "easy": True, **source}], "licenses": licenses})

    return make


def test_any_licence_will_do_unless_the_recipe_has_a_list(with_licences):
    load_batches(with_licences(None))


def test_licences_outside_the_list_are_refused_and_counted(with_licences):
    with pytest.raises(RecipeError) as caught:
        load_batches(with_licences(["CC0-1.0", "MIT*"]))
    assert "6 recordings are under GPL-3.0-or-later" in str(caught.value)
    assert "6 recordings are under unknown" in str(caught.value)


def test_a_source_may_state_what_its_manifest_does_not(with_licences):
    load_batches(with_licences(["CC0-1.0", "GPL-*"], license="CC0-1.0"))
    with pytest.raises(RecipeError, match="6 recordings are under unknown"):
        load_batches(with_licences(["*"]))


def test_excluded_speakers_do_not_count(with_licences):
    load_batches(with_licences(["CC0-1.0"], license="CC0-1.0", exclude=["voice0", "voice1", "voice2"]))


def test_check_tells_them(with_licences, tmp_path):
    recipe = with_licences(None)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    assert parse_recipe(json.loads((tmp_path / "recipe.yaml").read_text()), "x") == recipe
    done = CliRunner().invoke(app, ["train", str(tmp_path / "recipe.yaml"), "--check"])
    assert done.exit_code == 0, done.output
    assert "6 recordings under GPL-3.0-or-later, 6 recordings under unknown" in done.stdout
