"""A short form of the standing attack: two of its attackers, a second each."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("aiohttp")
import attack
import tone_language

SHORT = ["preamble", "describe", "empty_phrases", "uploads"]
LONGEST_WORK, LONGEST_ANSWER = 0.5, 10.0
"""seconds: machines that run tests are busy; what an attack used to cost was 40 s"""


def test_what_once_stopped_a_server_does_so_no_more(tone_model, monkeypatch):
    monkeypatch.setattr(attack, "MODEL", str(tone_model))
    monkeypatch.setattr(attack, "REST_SECONDS", 0.1)
    found, _ = asyncio.run(asyncio.wait_for(attack.run(SHORT, 2, 1.5, rest=False), 180))
    for figures in found:
        assert figures.work < LONGEST_WORK, figures
        assert max(figures.answers.values()) < LONGEST_ANSWER, figures
        assert figures.left == 0 and figures.memory_mb < attack.MEMORY_MB, figures
        assert figures.faults == [], figures


def test_every_attack_is_named():
    assert set(SHORT) <= set(attack.ATTACKS) and tone_language is not None
