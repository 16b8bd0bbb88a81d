"""What GitHub shows contributors is well formed, and says what the repository does."""

from pathlib import Path

import pytest
import yaml
from test_docs import TYPED, check_mentioned

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="this checkout has no .github")


@pytest.mark.parametrize("form", [form for form in FORMS if form.stem != "config"], ids=lambda form: form.stem)
def test_forms_have_what_github_wants(form):
    said = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert said["name"] and said["description"] and said["body"]
    fields = [field for field in said["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) and all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_a_bug_is_reported_with_what_one_needs():
    text = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    fields = {field.get("id") for field in yaml.safe_load(text)["body"]}
    assert fields >= {"command", "output", "versions", "bench", "recording"}
    for line in {words.strip() for words in TYPED.findall(text.replace("`", "\n"))} | {"bench --model NAME"}:
        check_mentioned(line)


def test_ci_runs_what_everybody_can():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["check"]["steps"]]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_workflows_may_do_no_more_than_they_need(workflow):
    said = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert said["permissions"] == {"contents": "read"}
    rights = [job.get("permissions", {}) for job in said["jobs"].values()]
    assert all(right in ({}, {"id-token": "write"}) for right in rights)
