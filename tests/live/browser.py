"""A real browser for the pages: headless Chromium by Playwright, axe-core for what people with other senses need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
MISSING = (
    "no Chromium on this machine, so no page was looked at: apt-get install chromium (or Google Chrome), then again"
)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PATIENCE_MS = 20_000
PAINTED = """() => new Promise((told) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") told(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


@contextmanager
def started() -> Iterator[Browser]:
    """Chromium; the test is skipped, and says so, where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser, address: str, scheme: str = "light", excused: str = "") -> Iterator[Page]:
    """A page in a browser of its own, 1440 x 900; its console must stay empty but for what is excused."""
    context = browser.new_context(base_url=address, color_scheme=scheme, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    try:
        yield page
        assert [line for line in said if not excused or excused not in line] == [], page.url
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """What axe-core finds: rule, how bad, the first places of it."""
    found = Axe().run(page, options=RULES).response
    assert found["passes"], "axe-core looked at nothing"
    return [
        f"{row['id']} ({row['impact']}): {row['help']}: " + "; ".join(
            f"{node['target']} {node['failureSummary']}" for node in row["nodes"][:3]
        )
        for row in found["violations"]
    ]  # fmt: skip


def first_paint_ms(page: Page) -> float:
    """First contentful paint of the page, from the start of its navigation."""
    return float(page.evaluate(PAINTED))


@contextmanager
def suspended(address: str) -> Iterator[None]:
    """The server at this address hears and says nothing."""
    port = urlsplit(address).port
    (listens,) = (
        one.pid for one in psutil.net_connections("tcp4") if one.status == "LISTEN" and one.laddr.port == port
    )
    process = psutil.Process(listens)
    process.suspend()
    try:
        yield
    finally:
        process.resume()
