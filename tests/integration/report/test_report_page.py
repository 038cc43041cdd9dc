"""The report as a browser shows it: no complaint, nothing fetched, and readable, light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.report.html import write_report
from tasks.report.run_data import Findings
from tests.support.browser import Browser
from tests.support.reports import hostile, ordinary

FOUND = {"ordinary": ordinary, "large": lambda: ordinary(64, ("trace", "svd")), "hostile": hostile}

CONTRASTS = """
(() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = color => parts(color).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, k) => sum + part * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("style")) continue;
    const drawn = element.closest("svg") !== null;
    const color = drawn ? getComputedStyle(element).fill : getComputedStyle(element).color;
    if (drawn && ["rgb(0, 0, 0)", "rgb(255, 255, 255)"].includes(color)) continue;  // numbers on a heat map's cells
    const [low, high] = [luminance(color), luminance(ground(element))].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.trim().slice(0, 40), color]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""
"""[contrast (WCAG 2.2), text, color] of every text on the page, the least first."""

BROKEN = """
[...document.querySelectorAll("svg, svg image, img")].filter(picture => {
  const box = picture.getBoundingClientRect();
  return box.width < 20 || box.height < 20;
}).length
"""

TOO_WIDE = """
[...document.querySelectorAll("body *")].filter(element => !element.closest(".wide > *, svg *"))
  .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(element => element.outerHTML)
"""


@pytest.fixture(scope="module", params=FOUND)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Findings = FOUND[request.param]()
    return write_report(found, tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_a_page_is_whole_and_readable(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.complaints() == []
    assert {address for address in browser.requests() if not address.startswith("data:")} == {page.as_uri()}
    assert browser.value("document.querySelectorAll('svg').length") >= 6
    assert browser.value(BROKEN) == 0
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.value(TOO_WIDE) == []
    contrasts = browser.value(CONTRASTS)
    assert len(contrasts) > 100
    assert contrasts[0][0] >= 4.5, contrasts[:5]
    luminous = browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert luminous == (not dark)


def test_print_is_dark_on_white_and_has_the_permutation(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True, media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value("document.querySelector('dd code').checkVisibility()") is True


def test_no_name_is_run(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(hostile(), tmp_path))
    assert browser.value("document.querySelectorAll('script, img, [onload], [onerror]').length") == 0
    assert not [event for event in browser.events if event["method"] == "Page.javascriptDialogOpening"]


def test_the_browser_would_complain(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='missing.png'><script>console.error('no')</script><p style='width: 2000px'>wide</p>")
    browser.open(bad, width=360)
    assert len(browser.complaints()) >= 2
    assert browser.value(BROKEN) == 1
    assert browser.value(TOO_WIDE) != []
