"""Headless Chromium."""

import contextlib
import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextlib.contextmanager
def chromium(profile, *logs):
    """Start headless Chromium; where the environment says CI, it has to be there.

    Args:
      profile: an empty folder for its profile.
      logs: the kinds of its logs that are kept.

    Yields:
      selenium's driver.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        missing = "chromium or chromedriver is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for name in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()
