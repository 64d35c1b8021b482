"""The report page in a real browser: nothing of a model's is run, everything can be reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from lem.analysis import analyse
from lem.report.html import build_html
from lem.study import load_study
from report_fixtures import published

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not CHROMIUM or not CHROMEDRIVER, reason="no Chromium with chromedriver on this machine"
)

FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)

PWN = (
    "</script><script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=2>",
    '"><svg onload=window.__pwned=3>',
    "</textarea></title></style><iframe srcdoc='<script>parent.__pwned=4</script>'>",
    "javascript:window.__pwned=5",
    "{{constructor.constructor('window.__pwned=6')()}} ${window.__pwned=7}",
    "<a href='javascript:window.__pwned=8'>x</a>\ud800\u202eLTR\u2066",
)
TOKEN = "A" * 1_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[object]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=CHROMEDRIVER)
    )
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of two models whose every text is hostile."""
    folder = tmp_path_factory.mktemp("pages")
    files = []
    for k in range(2):
        arms = {"baseline": 0, f"json {PWN[0]}": 2, f"txt {PWN[2]}": 0, f"placebo-json {PWN[0]}": 1}
        names = list(arms)
        texts = {(i, names[j]): f"{PWN[(i + j) % 7]} perhaps" for i in range(7) for j in range(3)}
        texts[7, "baseline"] = TOKEN
        files.append(
            published(
                folder / f"{k}.jsonl", f"m{k} {PWN[1]}", arms=arms, probes=12, seed=k, ids=PWN,
                domains=PWN[:4], texts=texts,
            )
        )  # fmt: skip
    study = load_study(files)
    page = build_html(study, analyse(study, title=f"Title {PWN[0]}"))
    (folder / "page.html").write_text(page, encoding="utf-8")
    return (folder / "page.html").as_uri()


def opened(browser, page, width=1400, height=900, scheme="light"):
    """The page at a width and in a colour scheme, without what was logged before."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page)
    return browser


def all_answers(browser):
    """Open every probe, wait for the answers, return their texts."""
    return browser.execute_async_script(
        """const done = arguments[0];
        for (const b of [...document.querySelectorAll('#rows td:first-child button')]) b.click();
        for (const d of document.querySelectorAll('details')) d.open = true;
        const wait = () => document.querySelectorAll('tr.answers .quiet').length
          ? setTimeout(wait, 20)
          : done([...document.querySelectorAll('tr.answers .text')].map(e => e.textContent));
        setTimeout(wait, 50);"""
    )


def test_hostile_texts_are_shown_and_nothing_of_them_runs(browser, page):
    opened(browser, page)
    texts = all_answers(browser)
    assert len(texts) == 12 * 2 * 4
    assert any(PWN[0] in t for t in texts) and any("onerror" in t for t in texts)
    assert any("\ufffdLTR\ufffd" in t for t in texts)
    assert any(t.startswith("A" * 50_000) and "more characters" in t for t in texts)
    assert browser.execute_script("return typeof window.__pwned") == "undefined"
    assert browser.execute_script("return document.querySelectorAll('iframe, img').length") == 0
    plain = "return document.querySelectorAll('script:not([type])').length"
    assert browser.execute_script(plain) == 1
    with pytest.raises(Exception, match="no such alert"):
        _ = browser.switch_to.alert
    assert PWN[0] in browser.find_element("tag name", "h1").text
    assert browser.get_log("browser") == []  # no error, no violation of the policy


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways(browser, page, width, scheme):
    opened(browser, page, width, scheme=scheme)
    all_answers(browser)
    inner, wide = browser.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    )
    assert wide <= inner


CONTRAST = """
const lum = (c) => { const v = c.map((x) => { x /= 255; return x <= .03928 ? x / 12.92
  : ((x + .055) / 1.055) ** 2.4; }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const parse = (s) => s.match(/[\\d.]+/g).map(Number);
const back = (e) => { for (; e; e = e.parentElement) {
  const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length || ['SCRIPT', 'MARK'].includes(e.tagName)) continue;
  const svg = e instanceof SVGElement, style = getComputedStyle(e);
  const a = lum(parse(svg ? style.fill : style.color)), b = lum(back(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < LEAST) bad.push([e.tagName, e.textContent.slice(0, 20), ratio]);
}
return bad;"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser, page, scheme):
    opened(browser, page, scheme=scheme)
    assert browser.execute_script(CONTRAST.replace("LEAST", "4.5")) == []
    assert browser.execute_script(CONTRAST.replace("LEAST", "9"))  # it does find what is too weak


def test_probes_are_filtered_and_sorted_by_keyboard(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page)
    found = browser.find_element("id", "found")
    assert found.text == "24 of 24 rows"
    browser.find_element("id", "q").send_keys("onerror P09")
    assert found.text == "2 of 24 rows"
    browser.find_element("id", "q").clear()
    browser.find_element("id", "q").send_keys("p")
    browser.find_element("id", "beyond").click()
    assert 0 < int(found.text.split()[0]) <= 24
    heads = browser.find_elements("css selector", "#heads th")
    last = heads[-1].find_element("tag name", "button")
    last.send_keys(Keys.ENTER)
    assert heads[-1].get_attribute("aria-sort") == "descending"
    column = (
        "[...document.querySelectorAll('#rows tr')]"
        ".map(r => Number(r.lastChild.textContent.replace('−', '-')))"
    )
    values = browser.execute_script(f"return {column}")
    assert values == sorted(values, reverse=True)
    last.send_keys(Keys.ENTER)
    assert heads[-1].get_attribute("aria-sort") == "ascending"
    assert browser.execute_script(f"return {column}") == sorted(values)
    first = browser.find_element("css selector", "#rows td:first-child button")
    first.send_keys(Keys.ENTER)
    assert first.get_attribute("aria-expanded") == "true"
    assert browser.find_elements("css selector", "tr.answers")


def test_static_tables_sort_within_their_groups(browser, page):
    opened(browser, page)
    done = browser.execute_script(
        """const table = document.querySelector('#effects ~ .scroll table');
        const th = [...table.tHead.rows[0].cells].find(c => c.textContent.startsWith('mean diff'));
        th.querySelector('button').click();
        const value = (row) => Number(row.cells[th.cellIndex].dataset.v);
        return [...table.tBodies].map(b => [...b.rows].slice(1).map(value))"""
    )
    assert len(done) > 1
    assert all(values == sorted(values, reverse=True) for values in done)


def test_a_link_to_the_differences_opens_them(browser, page):
    opened(browser, page)
    rows = browser.execute_async_script(
        """const done = arguments[0];
        const link = document.querySelector('#effects ~ .scroll tbody td a[href^="#u-"]');
        link.click();
        const details = document.querySelector(link.getAttribute('href').replace(/[.]/g, '\\\\.'));
        const rows = () => details.querySelectorAll('tbody tr').length;
        const wait = () => rows() ? done(rows()) : setTimeout(wait, 20);
        wait();"""
    )
    assert rows == 12
