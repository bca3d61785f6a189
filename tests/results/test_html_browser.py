"""The HTML leaderboard in a real browser: sort, filter, compare, keyboard, dark, print, accessibility, no network."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from mer_bench.results.building import build
from mer_bench.results.html import page as offline
from mer_bench.results.markdown import number
from mer_bench.results.model import to_json
from tests.results.factory import runs
from tests.results.html_pages import two_boards
from tests.results.test_leaderboard import SIZES, loaded, numbers_in, spread
from tests.results.test_leaderboard_command import HOSTILE

CHROMIUM, DRIVER = shutil.which("chromium"), Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or not DRIVER.exists(), reason="no chromium and chromium-driver (Debian's packages) here"
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1300,900"),
)
BOARDS = ("iemocap4--audio-text", "mosi--audio-text")


class Page:
    """The browser with a page in it.

    Attributes:
        browser: the driver.
        address: of the file.
        board: what `board.json` says.
    """

    def __init__(self, browser: webdriver.Chrome, folder: Path, files: dict[str, str]) -> None:
        self.browser, self.address = browser, (folder / offline.NAME).as_uri()
        (folder / offline.NAME).write_text(files[offline.NAME], encoding="utf-8")
        self.board = json.loads(files["board.json"])

    def open(self, state: str = "") -> None:
        """From the start, so that nothing is left of what was done before."""
        self.browser.get("about:blank")
        self.browser.get(self.address + state)

    def js(self, script: str, *arguments: Any) -> Any:
        """The value of some JavaScript."""
        return self.browser.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def media(self, scheme: str = "light", medium: str = "") -> None:
        """Ask for a colour scheme and a medium."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def rows(self, board: str = BOARDS[0]) -> list[str]:
        """Labels of the rows that can be seen, from the top."""
        found = "table.main tbody tr:not([hidden]) th"
        return self.js(
            "return [...document.getElementById(arguments[0]).querySelectorAll(arguments[1])].map(x => x.textContent)",
            *(board, found),
        )

    def head(self, key: str) -> Any:
        """The header of a column of the board that is shown."""
        return self.find(f"section.board:not([hidden]) th[data-key={key}]")

    def table(self, board: int = 0) -> dict[str, Any]:
        """The table of a board, as JSON."""
        return self.board["pages"][board]["tables"][0]

    def labels(self, key: Any, board: int = 0) -> list[str]:
        """Labels in the order of a key; equal ones as they are ranked."""
        return [row["label"] for row in sorted(self.table(board)["rows"], key=key)]

    def choose(self, a: str, b: str) -> str:
        """Compare two rows; what is said of them."""
        Select(self.find("#a")).select_by_visible_text(a)
        Select(self.find("#b")).select_by_visible_text(b)
        return self.find("#compared").text

    def compared(self) -> dict[str, list[str]]:
        """The cells of the lines of the comparison, by name."""
        lines = self.js(
            "return [...document.querySelectorAll('#compared tr')].map(r => [...r.cells].map(c => c.textContent))"
        )
        return {name: cells for name, *cells in lines}

    def violations(self) -> list[str]:
        """What axe finds wrong."""
        from axe_core_python.selenium import Axe

        found = Axe().run(self.browser)["violations"]
        return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]

    def complaints(self) -> list[str]:
        """Errors and refusals of the policy since the last call."""
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # named, so that Selenium does not go and look for one
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def shared(browser, tmp_path_factory) -> Page:
    return Page(browser, tmp_path_factory.mktemp("board"), two_boards())


@pytest.fixture
def page(shared) -> Iterator[Page]:
    shared.media()
    shared.complaints()
    shared.open()
    yield shared
    assert shared.complaints() == []


def test_it_opens_from_disk_and_asks_for_nothing(page):
    assert page.js("return performance.getEntriesByType('resource').length") == 0
    assert page.rows() == [row["label"] for row in page.table()["rows"]] and len(page.rows()) == 7
    seen = "return [...document.querySelectorAll('section.board')].map(x => x.checkVisibility())"
    assert page.js(seen) == [True, False]
    page.find(f"nav a[href='#{BOARDS[1]}']").click()
    soon = WebDriverWait(page.browser, 20).until  # the browser tells of a new address later
    soon(lambda _: page.js(seen) == [False, True] and page.find("#count").text == "3 of 3 rows")
    page.browser.back()
    soon(lambda _: page.find("#count").text == "7 of 7 rows")


def test_without_javascript_everything_is_there(page):
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open()
        assert [x.is_displayed() for x in page.browser.find_elements(By.CSS_SELECTOR, "section.board")] == [True] * 2
        assert not page.find("#controls").is_displayed() and not page.find("#compare").is_displayed()
        assert "need JavaScript" in page.find("noscript").text
    finally:
        page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_sorting(page):
    def score(row):
        return row["mean"] if row["score"] is None else row["score"]["value"]

    assert page.head("rank").get_attribute("aria-sort") == "ascending"
    for key, by in (("score", lambda r: -score(r)), ("parameters", lambda r: r["parameters"])):
        page.head(key).find_element(By.TAG_NAME, "button").click()
        assert page.head(key).get_attribute("aria-sort") == ("descending" if key == "score" else "ascending")
        assert page.rows() == page.labels(by)
    sorted_heads = page.js("return document.querySelectorAll('section.board:not([hidden]) [aria-sort]').length")
    assert sorted_heads == 1
    page.head("missing_auc").find_element(By.TAG_NAME, "button").click()
    down = page.rows()
    page.head("missing_auc").find_element(By.TAG_NAME, "button").click()
    without = page.labels(lambda r: r["missing_auc"] is not None)[
        : sum(r["missing_auc"] is None for r in page.table()["rows"])
    ]
    assert len(without) == 3 and down[-3:] == page.rows()[-3:] == without  # no value, last both ways
    assert page.rows()[:4] == down[:4][::-1]
    page.open(f"#{BOARDS[1]}")
    page.head("score").find_element(By.TAG_NAME, "button").click()
    assert page.head("score").get_attribute("aria-sort") == "ascending"  # an error: the smallest is the best
    assert page.rows(BOARDS[1]) == page.labels(score, board=1)


def test_filters_and_the_state_in_the_address(page):
    page.find("#find").send_keys("Unimodal")
    assert page.rows() == ["Unimodal (text)", "Unimodal (audio)"] and page.find("#count").text == "2 of 7 rows"
    Select(page.find("#modality")).select_by_visible_text("audio")
    assert page.rows() == ["Unimodal (audio)"]
    page.find("#reset").click()
    Select(page.find("#show")).select_by_visible_text("ranked")
    page.head("label").find_element(By.TAG_NAME, "button").click()
    kept = sorted(row["label"] for row in page.table()["rows"] if row["rank"])
    assert page.rows() == kept and len(kept) == 4
    page.choose("Foal", "Concat")
    address, compared = page.browser.current_url, page.find("#compared").text
    page.browser.get("about:blank")
    page.browser.get(address)
    assert page.rows() == kept and page.find("#compared").text == compared and "Foal minus Concat" in compared
    page.open(f"#{BOARDS[0]}&show=nonsense&sort=nonsense&a=nonsense&find=incomplete")
    assert page.rows() == ["Late"] and page.find("#a").get_attribute("value") == ""
    page.open("#%&%=%")
    assert page.find("#count").text == "7 of 7 rows"


def test_comparing(page):
    table = page.table()
    names = {row["key"]: row["label"] for row in table["rows"]}
    for pair in table["pairs"]:
        for a, b, sign in ((pair["first"], pair["second"], 1), (pair["second"], pair["first"], -1)):
            page.choose(names[a], names[b])
            d, better = pair["difference"], pair["p_better"] if sign == 1 else 1 - pair["p_better"]
            value, low, high = (number(sign * d[x], 2, sign=True) for x in ("value", "low", "high"))
            low, high = (low, high) if sign == 1 else (high, low)
            said = page.find("#compared").text
            assert f"{names[a]} minus {names[b]}: {value} [{low}, {high}] UA %" in said
            assert f"P({names[a]} is better) {number(better, 3)}" in said and f"p {number(pair['p'], 3)}" in said
    page.find("#swap").click()
    assert f"{names[b]} minus {names[a]}" not in said and f"{names[b]} minus {names[a]}" in page.find("#compared").text
    assert "No difference" in page.choose("Late", "Foal")


def test_the_comparison_writes_numbers_as_the_table_does(page):
    cells = page.js(
        "return [...document.querySelectorAll('table.main')[0].rows].slice(1).map(r => [...r.cells].map("
        "c => c.textContent.replace(/\\s+/g, ' ').trim()))"
    )
    keys = page.js("return [...document.querySelectorAll('table.main')[0].tHead.rows[0].cells].map(c => c.dataset.key)")
    shown = {row[1]: dict(zip(keys, row, strict=True)) for row in cells}
    lines = {"rank": "rank", "score": "score [95 %]", "seed_sd": "seed SD", "gain": "interaction gain [95 %]"}
    lines |= {"missing_auc": "missing AUC [95 %]", "parameters": "parameters", "done": "runs", "badges": "badges"}
    assert shown["Tie"]["score"].startswith("50.12 [")  # 50.125: half to even
    for label in shown:
        page.choose(label, "Tie")
        compared = page.compared()
        for key, line in lines.items():
            assert compared[line] == [shown[label][key], shown["Tie"][key]], (label, key)
    (foal,) = [row for row in page.table()["rows"] if row["label"] == "Foal"]
    page.choose("Foal", "Tie")
    compared = page.compared()
    assert [compared[f"fold {i}"][0] for i in range(3)] == [number(x, 2) for x in foal["folds"]]
    assert compared["emotion: a"] == ["75.00", "75.00"] and compared["missing_0.5"][1] == "40.12"
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#compared svg polyline")) == 2


def test_the_keyboard_reaches_and_does_everything(page):
    body, reached = page.find("body"), []
    body.send_keys(Keys.TAB)
    for _ in range(26):
        name = page.js(
            "const e = document.activeElement; return e.id || e.textContent.trim() || e.getAttribute('aria-label')"
        )
        reached.append(name)
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert reached[0] == "Skip to the boards"
    wanted = ["find", "show", "modality", "most", "reset", "save", "a", "b", "swap", "rank", "method", "UA % ↑"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted
    for key, expected in ((Keys.ENTER, "descending"), (Keys.SPACE, "ascending")):
        button = page.head("score").find_element(By.TAG_NAME, "button")
        button.send_keys(key)
        assert page.head("score").get_attribute("aria-sort") == expected
        assert page.js("return document.activeElement === arguments[0]", button)
    page.find("#a").send_keys("Foal")
    page.find("#b").send_keys("Gated")
    assert "Foal minus Gated" in page.find("#compared").text


def test_accessible_in_light_and_dark(page):
    page.choose("Foal", "Concat")
    page.js("for (const one of document.querySelectorAll('details')) one.open = true")
    colours = []
    for scheme in ("light", "dark"):
        page.media(scheme)
        assert page.violations() == []
        colours.append(page.js("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"))
    assert colours == [["rgb(255, 255, 255)", "rgb(31, 35, 40)"], ["rgb(13, 17, 23)", "rgb(230, 237, 243)"]]
    forest = "return getComputedStyle(document.querySelector('figure svg .bg')).fill"
    assert page.js(forest) == "rgb(13, 17, 23)"  # the pictures follow


def test_a_narrow_window_scrolls_tables_and_not_the_page(page):
    page.choose("Foal", "Concat")
    size = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        width = page.js("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
        assert width[0] == width[1] <= 380
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print(page):
    page.media("dark", "print")
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.find("#controls").is_displayed() and not page.find("#choice").is_displayed()
    assert page.find("table.main").is_displayed()
    page.js(
        "addEventListener('beforeprint', () => { window.opened = document.querySelectorAll('details[open]').length })"
    )
    printed = base64.b64decode(page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 10_000
    assert page.js("return [window.opened, document.querySelectorAll('details[open]').length]") == [6, 0]


def test_saving_what_is_shown(page, tmp_path):
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    Select(page.find("#show")).select_by_visible_text("ranked")
    page.find("#save").click()
    saved = tmp_path / f"{BOARDS[0]}.csv"
    WebDriverWait(page.browser, 20).until(lambda _: saved.is_file() and saved.stat().st_size)
    lines = list(csv.DictReader(io.StringIO(saved.read_text(encoding="utf-8"))))
    assert [line["method"] for line in lines] == page.rows() and len(lines) == 4
    table = [row for row in page.table()["rows"] if row["rank"]]
    assert [numbers_in(line["UA % ↑"]) for line in lines] == [spread(row["score"], 2) for row in table]


def test_a_board_without_records(browser, tmp_path):
    board = build(loaded([]), synthetic=False)
    page = Page(browser, tmp_path, {offline.NAME: offline.render(board, "x.html"), "board.json": to_json(board)})
    page.complaints()
    page.open()
    assert "No records yet." in page.find("main").text and page.violations() == page.complaints() == []


def test_hostile_names_stay_text(browser, tmp_path):
    records = []
    for i, name in enumerate(HOSTILE):
        records += runs(f"m{i}", [[0.4 + i / 100, 0.41 + i / 100]] * 3, title=name, items=SIZES)
    records = [dataclasses.replace(r, cost=dataclasses.replace(r.cost, parameters=i)) for i, r in enumerate(records)]
    board = build(loaded(records), synthetic=False)
    page = Page(browser, tmp_path, {offline.NAME: offline.render(board, "x.html"), "board.json": to_json(board)})
    page.complaints()
    page.open()
    assert sorted(page.rows()) == sorted(name.replace("@", "\uff20") for name in HOSTILE)
    first, second = (
        row["label"] for row in page.table()["rows"] if "<script>" in row["label"] or "<img" in row["label"]
    )
    page.open(f"#{BOARDS[0]}&find={quote(first)}")
    assert page.rows() == [first]
    assert f"{first} minus {second}" in page.choose(first, second)
    assert not page.browser.find_elements(By.CSS_SELECTOR, "img, b, em, main script, table table")
    assert page.complaints() == []
