"""Pages in a real browser: nothing is fetched, nothing complains, everything is there to be seen and heard."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from browser import accessibility_faults, browser, complaints, needs_browser
from command_line import run as edgeseq
from tiny_tones import train_run

from edgeseq.errors import UsageError
from edgeseq.export import finishing
from edgeseq.report.page import write_report
from edgeseq.report.run import read_run

MODEL = Path("models/digits-en")
CLIP = "demo/number.flac"
WORDS = "zero four one three nine five two eight seven six"

FETCHED = "return performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:'))"
LOADED = """
const done = arguments[0];
const sounds = [...document.querySelectorAll('audio')];
Promise.all(sounds.map(sound => new Promise((good, bad) => {
  sound.addEventListener('loadedmetadata', () => good(sound.duration));
  sound.addEventListener('error', () => bad(sound.error.message));
  sound.preload = 'metadata'; sound.load();
}))).then(done, fault => done(String(fault)));
"""
BROKEN = """
const images = [...document.querySelectorAll('svg image')];
return Promise.all(images.map(image => { const one = new Image(); one.src = image.getAttribute('xlink:href');
  return one.decode().then(() => one.naturalWidth > 0, () => false) })).then(all => [all.length, all.filter(x => !x).length]);
"""


@pytest.fixture(scope="module")
def finished(tone_run, tmp_path_factory):
    """The folder of a run that has ended, with its report."""
    run = Path(shutil.copytree(tone_run, tmp_path_factory.mktemp("finished") / "tones"))
    finishing.finish(run)
    seen = read_run(run)
    write_report(seen, run / "report.html", clips=100, examples=3)
    return run


def open_page(driver, path):
    driver.get(path.resolve().as_uri())
    assert complaints(driver) == [] and driver.execute_script(FETCHED) == []
    assert accessibility_faults(driver) == []


@needs_browser
def test_a_report_in_a_browser(finished, tmp_path):
    page = finished / "report.html"
    assert page.stat().st_size < 3e6
    with browser(tmp_path / "profile") as driver:
        open_page(driver, page)
        headings = [one.text for one in driver.find_elements("css selector", "h2")]
        assert headings[:5] == ["Training", "Error rates", "Confusions", "Streamed and exported", "Cells and gates"]
        durations = driver.execute_async_script(LOADED)
        assert len(durations) == 3 and all(0.2 < seconds < 0.6 for seconds in durations), durations
        n_images, n_broken = driver.execute_script(BROKEN)
        assert n_images >= 6 and n_broken == 0
        assert len(driver.find_elements("css selector", "figure > svg[role=img][aria-label]")) >= 4
        ways = driver.find_elements("css selector", "#ways ~ .scroll")[0].text
        assert all(way in ways for way in ("torch, whole clips", "torch, streamed", "float file", "8-bit file"))
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        dark = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(20, 22, 26)" and accessibility_faults(driver) == []
        assert complaints(driver) == []


@needs_browser
def test_a_file_explained_in_a_browser(tmp_path):
    page = tmp_path / "explained.html"
    done = edgeseq("explain", CLIP, "--text", WORDS.replace("nine", "none"), "--out", page)
    assert done.returncode == 0 and WORDS in done.stderr, done.stderr
    with browser(tmp_path / "profile") as driver:
        open_page(driver, page)
        assert driver.find_element("css selector", "li.substituted").text.startswith("none nine")
        assert len(driver.find_elements("css selector", ".alignment li")) == 10
        assert driver.execute_script(BROKEN) == [2, 0], "spectrogram and saliency"


def test_a_file_explained_as_a_picture_and_without_weights(tmp_path):
    shutil.copy(MODEL / "model.int8.onnx", tmp_path / "model.int8.onnx")
    picture = tmp_path / "a.png"
    done = edgeseq("explain", CLIP, "--model", tmp_path, "--out", picture)
    assert done.returncode == 0 and WORDS in done.stderr, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([CLIP, CLIP, "--text", "one"], "for a single recording"),
        ([CLIP, "--out", "a.pdf"], "ends in .html or .png"),
        (["gone.wav"], "gone.wav"),
        ([CLIP, "--run", "gone"], "no such checkpoint"),
        ([CLIP, "--start", "900"], "has 0.000 s of sound here"),
    ],
)
def test_what_cannot_be_explained(tmp_path, arguments, said):
    done = edgeseq("explain", *arguments, *([] if "--out" in arguments else ["--out", tmp_path / "a.html"]))
    assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_reported_as_far_as_it_is(tmp_path):
    """Before the first checkpoint, with a line cut off, and with recordings gone."""
    run = train_run(tmp_path, steps=4)
    shutil.rmtree(run / "checkpoints")
    recipe = (run / "recipe.yaml").read_text()
    assert "steps: 4\n" in recipe
    changed = recipe.replace("steps: 4\n", "steps: 400\n").replace("sine tones", "<script>alert(1)</script>")
    (run / "recipe.yaml").write_text(changed)
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:-20])
    shutil.rmtree(tmp_path / "data")
    write_report(read_run(run), run / "report.html", clips=10, examples=2)
    page = (run / "report.html").read_text()
    assert "Not finished:" in page and "There is no checkpoint yet" in page and "no such manifest" in page
    assert "<script" not in page and "&lt;script&gt;" in page, "what a recipe says is text"


def test_a_refused_run_says_so(finished, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    proof = json.loads((run / "proof.json").read_text())
    (run / "proof.json").write_text(json.dumps(proof | {"refused": "tones is not released: export changed the words."}))
    write_report(read_run(run), run / "report.html", clips=2, examples=0)
    assert "Not fit to be released" in (run / "report.html").read_text()


def test_no_run_is_named(tmp_path):
    with pytest.raises(UsageError, match="no folder of a run"):
        read_run(tmp_path)
    done = edgeseq("report", tmp_path)
    assert done.returncode == 2 and "such as runs/digits-en" in done.stderr


def test_a_run_without_validation_recordings_has_a_whole_report(tmp_path):
    import re

    from tiny_tones import tone_recipe, write_tones

    from edgeseq.training.trainer import train

    recipe = tone_recipe(write_tones(tmp_path / "data"), steps=4)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"valid": []})})
    train(recipe, tmp_path / "run", resume=False, report=lambda _: None, workers=0)
    write_report(read_run(tmp_path / "run"), tmp_path / "report.html", clips=10, examples=2)
    page = (tmp_path / "report.html").read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    for empty in ("Nothing was heard", "No recordings to hear", "Measured when a run ends", "the validation set", "None %"):
        assert empty not in text
    assert "recordings that the model was trained on" in text and page.count("<audio") == 2
    assert "no validation recordings" in text
