"""The documentation as a browser shows it: no complaint, nothing fetched from elsewhere, whole on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.documents import built
from tests.support.paths import DOCS

FILES = (path for path in DOCS.glob("**/*.md") if "_build" not in path.parts)
NAMES = sorted(str(path.relative_to(DOCS).with_suffix("")) for path in FILES)

TOO_WIDE = """
[...document.querySelectorAll("article *")]
  .filter(element => !element.closest("pre, .table-wrapper, .formula, math"))
  .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(element => element.outerHTML)
"""
"""What reaches beyond the page; code, tables and formulas move sideways in boxes of their own."""

BROKEN = "[...document.querySelectorAll('article img')].filter(image => !image.naturalWidth).length"
FLAT = "[...document.querySelectorAll('math')].filter(math => math.getBoundingClientRect().height < 5).length"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole(browser: Browser, site: Path, name: str) -> None:
    for width in (360, 1280):
        browser.open(site / f"{name}.html", width=width)
        assert browser.complaints() == []
        requests = browser.requests()
        assert all(address.startswith((site.resolve().as_uri(), "data:")) for address in requests), requests
        assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert browser.value(TOO_WIDE) == []
        assert browser.value(BROKEN) == browser.value(FLAT) == 0


def test_formulas_and_pictures_are_there(browser: Browser, site: Path) -> None:
    browser.open(site / "methods.html", dark=True)
    assert browser.value("document.querySelectorAll('math').length") > 20
    assert browser.value("document.querySelectorAll('article img').length") == 8


def test_the_search_finds_without_a_server(browser: Browser, site: Path) -> None:
    browser.open(site / "search.html")
    browser.call("Page.navigate", url=f"{(site / 'search.html').resolve().as_uri()}?q=commutator")
    found = """
    new Promise(resolve => {
      const look = () => document.querySelector("#search-results li a") ? resolve(true) : setTimeout(look, 20);
      look();
    })
    """
    done = browser.call("Runtime.evaluate", expression=found, awaitPromise=True, returnByValue=True, timeout=20_000)
    assert done["result"].get("value") is True
