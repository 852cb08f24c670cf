"""The report's page in a real browser: the tracks follow the locus, and nothing is asked of any network."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.image import imread

import genomic_ulmfit as gu
from tests.run_folder import fill

PATIENCE = 180_000  # ms; a machine with much else to do takes long, and says nothing of the page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = fill(tmp_path_factory.mktemp("browser") / "run")
    return gu.write_report(folder, folder.parent / "report.html").page


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE
        )  # CI is root
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def opened(browser, page_file) -> Iterator:
    """Open the page from its file, keeping what it says and asks for."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.said.append(f"error: {error}"))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#igv[data-ready]")
    yield page
    page.close()


@pytest.fixture
def page(opened) -> Iterator:
    """The open page; whatever a test does, there is no error, and no request but for what lies in the page."""
    yield opened
    assert [text for text in opened.said if text.startswith(("error", "warning"))] == []
    assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [opened.url.partition("#")[0]]


def go(page, locus: str) -> None:
    box = page.locator("#igv input.igv-search-input")
    box.fill(locus)
    box.press("Enter")


def blue_share(page) -> float:
    """Return which share of the score track's picture has the colour of its bars."""
    shot = page.locator("#igv .igv-viewport", has_text="scores.bedgraph").screenshot()
    red, green, blue = np.moveaxis(imread(io.BytesIO(shot), format="png")[..., :3], -1, 0)
    return float(((red < 0.2) & (green > 0.3) & (blue > 0.55)).mean())


def expect_blue(page, least: float, most: float) -> None:
    """Wait until the share is between these: the bars are as high as the score."""
    share = blue_share(page)
    for _ in range(PATIENCE // 1000):
        if least <= share <= most:
            return
        page.wait_for_timeout(100)
        share = blue_share(page)
    pytest.fail(f"wanted a share of {least} to {most} to be drawn, got {share}")


def test_the_track_that_is_drawn_follows_the_locus_that_is_typed(page):
    go(page, "chr1:5,101-5,900")
    expect_blue(page, 0.9, 1.0)
    go(page, "chr1:8,501-9,300")
    expect_blue(page, 0.0, 0.001)
    go(page, "chr1:5,101-5,900")
    expect_blue(page, 0.9, 1.0)


def test_the_link_of_a_call_moves_the_browser_there(page):
    go(page, "chr1:8,501-9,300")
    expect_blue(page, 0.0, 0.001)
    page.get_by_role("link", name="chr1:5001-6000 +").click()
    expect_blue(page, 0.3, 0.4)  # three times the call
    assert page.locator("#igv input.igv-search-input").input_value() == "chr1:4,001-7,000"


def test_a_site_is_found_by_its_name(page):
    go(page, "defB")
    expect_blue(page, 0.0, 0.001)
    page.wait_for_function(
        "document.querySelector('#igv').shadowRoot.querySelector('input.igv-search-input').value != 'defB'"
    )
    start, end = page.locator("#igv input.igv-search-input").input_value().replace(",", "").split(":")[1].split("-")
    assert int(start) <= 10_001 <= int(end)


def test_a_name_that_is_nowhere_is_asked_of_nobody(page):
    go(page, "nothingZ")
    page.get_by_text("OK", exact=True).locator("visible=true").click()  # igv.js says that there is no such place


def test_a_phone_shows_it_without_scrolling_sideways(browser, page_file):
    phone = browser.new_page(viewport={"width": 390, "height": 800})
    phone.set_default_timeout(PATIENCE)
    phone.goto(page_file.as_uri())
    phone.wait_for_selector("#igv[data-ready]")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    phone.close()
