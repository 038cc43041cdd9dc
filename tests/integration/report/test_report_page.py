"""The report as a browser shows it: no complaint, nothing fetched, and readable, light and dark, wide and narrow."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

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
    if (!walker.currentNode.data.trim() || element.closest("style, script, title, #tip")) continue;
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
    return write_report(found, tmp_path_factory.mktemp(request.param, numbered=False))


def kept(name: str, contents: bytes) -> None:
    """Keeps a picture of a page for people, in the folder that SCREENSHOTS names."""
    if folder := os.environ.get("SCREENSHOTS"):
        (Path(folder) / name).write_bytes(contents)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
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
    taken = browser.screenshot()
    kept(f"{page.parent.name}-{width}{'-dark' if dark else ''}.png", taken)
    with Image.open(BytesIO(taken)) as image:
        assert image.width == width
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100


def test_on_a_phone_the_status_is_in_sight(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    status = "[...document.querySelectorAll('th')].find(cell => cell.textContent === 'status')"
    assert browser.value(f"{status}.getBoundingClientRect().right") <= 390


def test_without_scripts_a_page_is_whole(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    assert browser.complaints() == []
    assert browser.value(BROKEN) == 0
    assert browser.value("document.querySelectorAll('.network li[title]').length") == browser.value(
        "document.querySelectorAll('.network li').length - 2"
    )
    assert not browser.value("[...document.querySelectorAll('button')].some(button => button.checkVisibility())")


POINT = """
(() => {
  const element = document.querySelector(%r), box = element.getBoundingClientRect();
  const at = {clientX: box.x + box.width * %s, clientY: box.y + box.height * %s, bubbles: true};
  element.dispatchEvent(new PointerEvent("pointermove", at));
  const tip = document.getElementById("tip");
  return tip.hidden ? "" : tip.textContent;
})()
"""


def test_a_pointer_reads_scores_curves_and_blocks(browser: Browser, tmp_path: Path) -> None:
    found = ordinary()
    browser.open(write_report(found, tmp_path))
    best = found.summary.best
    assert best is not None
    row, column = 3, 7
    told = browser.value(POINT % ("svg[data-scores]", (column + 0.5) / 12, (row + 0.5) / 12))
    pieces = f"inp piece {best.permutation[2 * row]}, out piece {best.permutation[2 * column + 1]}: score "
    assert told.startswith(pieces)
    score = found.matrices["trace"][best.inp_sigma[row], best.out_sigma[column]]
    assert float(told.removeprefix(pieces)) == pytest.approx(score, abs=5e-3)
    assert browser.value(POINT % ("[data-points] use", 0.5, 0.5)) == "trace: MSE 0.4 after 0 s, 0 evaluations"
    assert browser.value(POINT % (".network li:nth-child(4) .bars", 0.5, 0.5)).startswith(
        "Block 3: inp piece 4, norm 5"
    )
    assert browser.value(POINT % ("h1", 0.5, 0.5)) == ""


def test_the_permutation_can_be_copied(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(ordinary(), tmp_path))
    browser.value("document.querySelector('button[data-copy=permutation]').click()")
    assert browser.value("getSelection().toString()") == ",".join(map(str, range(25)))


def test_print_is_dark_on_white_and_has_the_permutation(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True, media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value("document.querySelector('#permutation').checkVisibility()") is True
    assert browser.value("document.querySelector('#hash').checkVisibility()") is True
    assert not browser.value("[...document.querySelectorAll('button')].some(button => button.checkVisibility())")
    kept(f"{page.parent.name}.pdf", browser.printed())


def test_no_name_is_run(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(hostile(), tmp_path))
    assert browser.value("document.querySelectorAll('img, [onload], [onerror]').length") == 0
    assert browser.value("document.querySelectorAll('script').length") == 1  # the page's own
    assert not [event for event in browser.events if event["method"] == "Page.javascriptDialogOpening"]


def test_the_browser_would_complain(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='missing.png'><script>console.error('no')</script><p style='width: 2000px'>wide</p>")
    browser.open(bad, width=360)
    assert len(browser.complaints()) >= 2
    assert browser.value(BROKEN) == 1
    assert browser.value(TOO_WIDE) != []
