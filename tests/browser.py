"""A real Chromium without a screen, driven through its own driver, with a file for a microphone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en",
    "--window-size=1280,900",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def missing() -> str | None:
    """Say what is missing for tests in a browser, None if nothing is."""
    if CHROMIUM is None or DRIVER is None:
        return "chromium is not installed (Debian: chromium and chromium-driver)"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    return None


needs_browser = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@contextmanager
def browser(profile: Path, *flags: str, microphone: Path | None = None) -> Iterator[Any]:
    """Start Chromium with an empty `profile`; `microphone` is a WAV file that is spoken once, from each time it is opened."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    spoken = [] if microphone is None else [f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    for flag in (*FLAGS, f"--user-data-dir={profile}", *spoken, *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(profile)})
        yield driver
    finally:
        driver.quit()


def complaints(driver: Any) -> list[str]:
    """Errors that the browser's console shows: of scripts, of what was blocked, of what was not found."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def accessibility_faults(driver: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is now, by its own rules: WCAG 2.1 A and AA, and what is good practice."""
    script = Path(pytest.importorskip("axe_core_python").__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    driver.execute_script(script)
    found = driver.execute_async_script("axe.run(document).then(arguments[0])")
    return [
        f"{fault['id']} ({fault['impact']}): {json.dumps([node['target'] for node in fault['nodes']])} {fault['help']}"
        for fault in found["violations"]
    ]
