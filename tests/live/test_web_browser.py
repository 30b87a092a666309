"""Every page in a real browser: an empty console, no barrier that axe-core knows, by keyboard, live, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from browser import barriers, first_paint_ms, looking, started, suspended
from live_stack import LiveStack
from playwright.sync_api import Browser, Page, expect
from sql_trial import put
from starlette.routing import Route
from web_server import served, simulated

from pipeline.core.incident_model import Incident
from pipeline.core.model import Anomaly
from pipeline.local.machine import free_port
from pipeline.settings import Settings, load
from pipeline.store.client import Store
from pipeline.web.app import create
from pipeline.web.people import People

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
SECRET = "correct horse battery"
SAW = "lyon-L1-saw"
NAMES = {"/machines/": SAW, "/lines/": "L1"}
AHEAD_MIN = 15
ASKING = "Asking the store"
FIRST_PAINT_MS = 1000


def pages() -> list[str]:
    """An address of every page that the application has, so that no new one is forgotten."""
    routes = [route for route in create(load({}, {})).routes if isinstance(route, Route)]
    paths = [route.path for route in routes if "GET" in (route.methods or ())]
    shown = [path for path in paths if not path.startswith(("/api/", "/login", "/static"))]
    return [path.split("{")[0] + (NAMES[path.split("{")[0]] if "{" in path else "") for path in shown]


PAGES = pages()


@pytest.fixture(scope="module")
def settings(stack: LiveStack) -> Settings:
    """Three machines: one with a critical incident, one with a warning, one that somebody has seen.

    Their news are of the next minutes, so that they are not old before the last test.
    """
    made = simulated(stack.settings("browser"), AHEAD_MIN)
    now = time.time_ns() // 1_000_000
    with closing(Store(made)) as store:
        for number, (machine, severity) in enumerate(
            [(SAW, "critical"), ("lyon-L1-mill-1", "warning"), ("lyon-L1-mill-2", "warning")]
        ):
            opened = opening(machine, severity, now - number * 1000)
            put(store, opened)
            if number == 2:
                put(store, replace(opened, acknowledged=now, acknowledged_by="ann", known_at=now))
        put(store, Anomaly(
            SAW, "lyon", "L1", "vibration", "limit", "limit", 1, now - 1000, now, 0.9, 7.5, 2.0, None, 7.0,
            "critical", "running", "A", "vibration is high", now,
        ))  # fmt: skip
    return made


def opening(machine: str, severity: str, now: int) -> Incident:
    return Incident(
        machine, "lyon", "L1", f"{machine}/{now}", now, now, now, None, severity, True, False, 2, ["vibration"],
        ["limit"], "vibration", "limit", 0.9, "running", "A", "vibration is high", known_at=now,
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with served(settings) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


def open_page(page: Page, path: str) -> None:
    """Go there and wait until the store has answered."""
    page.goto(path)
    expect(page.locator("#told")).not_to_have_text(ASKING, timeout=30_000)


def test_the_pages_are_those_of_the_application() -> None:
    assert set(PAGES) >= {"/", f"/machines/{SAW}", "/incidents"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_barrier_and_an_empty_console(browser: Browser, address: str, path: str, scheme: str) -> None:
    with looking(browser, address, scheme) as page:
        open_page(page, path)
        expect(page.locator("#told")).to_contain_text("as of")
        for more in page.locator("summary").all():
            more.click()
        assert barriers(page) == []
        page.locator("#light").click()  # the other way round by hand
        assert barriers(page) == []
        for width in (1440, 390):  # a phone
            page.set_viewport_size({"width": width, "height": 900})
            page.reload()
            expect(page.locator("#told")).to_contain_text("as of", timeout=30_000)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"


@pytest.mark.parametrize("path", PAGES)
def test_something_is_seen_within_a_second(browser: Browser, address: str, path: str) -> None:
    painted = []
    with looking(browser, address) as page:
        while len(painted) < 4 and (not painted or min(painted) > FIRST_PAINT_MS):  # a machine with other work
            page.goto(path)
            painted.append(first_paint_ms(page))
    assert min(painted) <= FIRST_PAINT_MS, painted


def test_a_change_is_seen_without_loading_the_page_again(browser: Browser, settings: Settings, address: str) -> None:
    with looking(browser, address) as page, looking(browser, address) as other, closing(Store(settings)) as store:
        open_page(page, "/")
        open_page(other, f"/machines/{SAW}")
        for watched in (page, other):
            watched.evaluate("document.kept = true")
        now = time.time_ns() // 1_000_000
        put(store, replace(opening(SAW, "critical", now), message="spindle is hot"))
        tile = page.locator("li", has=page.get_by_role("link", name=SAW))
        expect(tile).to_contain_text("critical: spindle is hot", timeout=30_000)
        expect(other.locator("#incidents-rows")).to_contain_text("spindle is hot", timeout=30_000)
        assert all(watched.evaluate("document.kept") for watched in (page, other))
        assert barriers(page) == []


def test_by_keyboard_from_a_tile_to_its_machine_and_back(browser: Browser, address: str) -> None:
    with looking(browser, address) as page:
        open_page(page, "/")
        tab_to(page, SAW)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "the focus is not seen"
        page.wait_for_timeout(2500)  # two looks into the store: tiles are filled anew, the focus stays
        assert focused(page) == SAW
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=SAW, level=1)).to_be_visible()
        expect(page.locator("#told")).to_contain_text("as of", timeout=30_000)
        tab_to(page, "Board")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Board", level=1)).to_be_visible()


def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"no way by keyboard to {name!r}")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


@pytest.mark.parametrize("path", PAGES)
def test_a_store_that_is_away_is_said_and_nothing_is_shown(browser: Browser, settings: Settings, path: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with served(settings, OPENOEE_STORE=nobody) as address, looking(browser, address) as page:
        open_page(page, path)
        expect(page.locator("#told.away")).to_contain_text("does not answer")
        expect(page.locator("#told.away")).to_contain_text("since")
        assert page.locator("li, .oee, dd").count() == page.locator("td:visible").count() == 0
        assert barriers(page) == []


def test_a_silent_server_is_said_by_the_page_itself(browser: Browser, settings: Settings) -> None:
    with served(settings) as address, looking(browser, address) as page:
        page.clock.install()
        open_page(page, "/")
        with suspended(address):
            page.clock.fast_forward(16_000)
            expect(page.locator("#told.away")).to_contain_text("No answer from the board's server since")
            assert page.locator("li").count() == 0
            assert barriers(page) == []
        expect(page.locator("#told")).to_contain_text("as of", timeout=30_000)
        expect(page.locator("li")).to_have_count(3)


def test_nothing_there_is_said_in_words(browser: Browser, address: str) -> None:
    with looking(browser, address) as page:
        open_page(page, "/?site=nowhere")
        expect(page.locator("#told")).to_contain_text("No factory file is applied yet")
        assert barriers(page) == []
        open_page(page, "/incidents?site=nowhere")
        expect(page.locator("#told")).to_have_text("None")
        assert barriers(page) == []
        open_page(page, "/machines/nobody")
        expect(page.locator("#told")).to_have_text("No factory file names a machine nobody")
        assert barriers(page) == []


def test_old_news_are_told_apart(browser: Browser, stack: LiveStack) -> None:
    with served(simulated(stack.settings("old"), ahead_min=-180)) as address, looking(browser, address, "dark") as page:
        open_page(page, "/")
        expect(page.locator("li.old")).to_have_count(3)
        expect(page.locator("li").first).to_contain_text("no news")
        assert page.locator(".oee").count() == 0
        assert barriers(page) == []
        open_page(page, f"/machines/{SAW}")
        expect(page.locator("#now")).to_contain_text("what follows is what was known then")
        assert barriers(page) == []


def test_the_way_in_and_out(browser: Browser, settings: Settings, tmp_path: Path) -> None:
    people = People(tmp_path / "people")
    people.let("ann", SECRET)
    names = {"OPENOEE_WEB_NAMES": "plant", "OPENOEE_WEB_PEOPLE_FILE": str(people.path)}
    with served(settings, **names) as address, looking(browser, address, "dark") as page:
        page.goto("/incidents?site=lyon")
        expect(page).to_have_title("Log in")
        assert focused_name(page) == "name"
        assert barriers(page) == []
        assert first_paint_ms(page) <= FIRST_PAINT_MS
        page.emulate_media(color_scheme="light")
        assert barriers(page) == []
        page.keyboard.type("ann")
        page.keyboard.press("Tab")
        page.keyboard.type(SECRET)
        page.keyboard.press("Enter")
        page.wait_for_url("**/incidents?site=lyon")
        expect(page.locator("#told")).to_contain_text("as of", timeout=30_000)
        assert barriers(page) == []
        page.get_by_role("button", name="Log out ann").click()
        expect(page).to_have_title("Log in")


def focused_name(page: Page) -> str:
    return str(page.evaluate("document.activeElement.name"))


def test_who_may_no_longer_look_is_led_to_the_login(browser: Browser, settings: Settings, tmp_path: Path) -> None:
    people = People(tmp_path / "people")
    people.let("ann", SECRET)
    names = {"OPENOEE_WEB_NAMES": "plant", "OPENOEE_WEB_PEOPLE_FILE": str(people.path)}
    with served(settings, **names) as address, looking(browser, address, excused="status of 401") as page:
        page.goto("/")
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("not that one")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("This name and password do not belong together.")
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(SECRET)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("li").first).to_be_visible(timeout=30_000)
        people.remove("ann")
        expect(page).to_have_title("Log in", timeout=30_000)


def test_what_is_said_is_kept_until_it_is_taken(browser: Browser, settings: Settings) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with served(settings, OPENOEE_KAFKA=nobody) as address, looking(browser, address, "dark", "status of 503") as page:
        open_page(page, "/incidents")
        page.get_by_role("button", name="Mute").first.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert barriers(page) == []
        page.emulate_media(color_scheme="light")
        assert barriers(page) == []
        for field in dialog.locator("input:visible").all():
            if not field.input_value():
                field.fill("known")
        dialog.get_by_role("button", name="Send").press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("Not sent: Kafka", timeout=60_000)
        assert dialog.get_by_label("Your name").input_value() == "known"
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert focused(page) == "Mute"


def test_the_interface_explains_itself_without_the_internet(browser: Browser, address: str) -> None:
    with looking(browser, address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/api/docs")
        expect(page.locator(".opblock").first).to_be_visible(timeout=30_000)
        assert [url for url in asked if not url.startswith((address, "data:"))] == []
