"""The report in a real browser: it sorts, folds, follows the theme, fits a phone, and fetches nothing."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import frames
from bench.analysis import findings as analysis
from bench.commands import comparing, conduct
from bench.render import html
from tests import builders
from tests.unit.overhead_material import a_plan, rates
from tests.unit.overhead_material import a_run as a_ladder
from tests.unit.overhead_material import judged as climbed
from tests.unit.test_judging import a_run, concluded
from tests.unit.test_visibility import a_run as a_visible_run
from tests.unit.test_visibility_report import judged

SEEN_IN = (
    "process",
    "cgroup",
    "namespace",
    "runc",
    "docker",
    "docker:runsc",
    "libvirt",
    "vagrant",
    "docker-vm",
)

pytestmark = pytest.mark.live


def _programs() -> tuple[str, str]:
    """Paths of Chromium and its driver. Missing ones fail in CI and skip elsewhere."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        reason = "no chromium or chromedriver here; fix: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return browser, driver


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    run = frames.load(builders.sample_run(directory, blocks=2))
    found = analysis.analyse(run)
    page = html.render(replace(run, finding_list=tuple(found), conclusion=analysis.conclusion(found)))
    file = directory / "report.html"
    file.write_text(page, encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The report of a comparison with a confirmed slow-down, written by the command."""
    first, second = (a_run(tmp_path_factory.mktemp(n), 60, slower=1.1, seed=i) for i, n in enumerate("ab"))
    first.write_comparison(comparing._confirmed(concluded(first), concluded(second)))
    (file,) = conduct.write_report(first.path, html=True, pdf=False, output=None)
    return file.resolve().as_uri()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The report on what tenants see."""
    run = judged(a_visible_run(tmp_path_factory.mktemp("seen"), runtimes=SEEN_IN))
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(html.render(run), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def laddered(tmp_path_factory):
    """The report of a ladder, with what others published beside it."""
    works = (("primes", "1/s"), ("syscalls", "1/s"))
    run = climbed(a_ladder(a_plan(works, emulated=("libvirt:micro",)), rates({"docker": 1.8})))
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(html.render(run), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = _programs()
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile: Path = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_page_load_timeout(60)
    yield opened
    opened.quit()


def size(browser, width, height=900):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


def theme(browser, name):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]}
    )


@pytest.fixture
def page(browser, address):
    size(browser, 1280)
    theme(browser, "light")
    browser.get(address)
    browser.get_log("browser")
    return browser


def texts(page, selector):
    return page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )


def test_the_page_logs_no_error_and_fetches_nothing(browser, address):
    browser.get(address)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def until(condition, seconds=30.0):
    """Wait for it to come true; fails after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)  # polling the browser, bounded by the deadline above


def test_the_policy_of_the_page_stops_a_fetch(page):
    page.execute_script("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    until(lambda: any("Content Security Policy" in entry["message"] for entry in page.get_log("browser")))


def test_every_cell_of_the_matrix_shows_a_verdict_in_words(page):
    cells = page.execute_script(
        "return [...document.querySelectorAll('.matrix td.cell .v')].map(e => e.innerText.trim())"
    )
    words = (
        "pass",
        "fail",
        "not enforced",
        "not offered",
        "not testable",
        "inconclusive",
        "seen",
        "no result",
    )
    shown = [cell for cell in cells if cell]
    assert len(shown) >= 20 * 4
    assert all(cell.endswith(words) for cell in shown)
    assert len(cells) == len(texts(page, ".matrix td.cell"))


def column(page, number):
    return page.execute_script(
        "return [...document.querySelector('table[data-sortable]').tBodies]"
        ".map(b => b.rows[0].cells[arguments[0]].dataset.sort)",
        number,
    )


def click_head(page, number):
    page.execute_script(
        "document.querySelector('table[data-sortable]').tHead.rows[0].cells[arguments[0]]"
        ".querySelector('button').click()",
        number,
    )


def sorting(page):
    return page.execute_script(
        "return [...document.querySelector('table[data-sortable]').tHead.rows[0].cells]"
        ".map(c => c.getAttribute('aria-sort'))"
    )


def test_a_click_sorts_by_number_and_a_second_one_turns_it_round(page):
    before = column(page, 5)
    click_head(page, 5)
    numbers = [float(v) for v in column(page, 5) if v]
    assert numbers == sorted(numbers)
    assert sorting(page)[5] == "ascending"
    click_head(page, 5)
    assert [float(v) for v in column(page, 5) if v] == numbers[::-1]
    assert sorting(page)[5] == "descending"
    assert sorted(column(page, 5)) == sorted(before)
    click_head(page, 0)
    assert column(page, 0) == sorted(column(page, 0))
    assert sorting(page) == ["ascending"] + ["none"] * 8


def test_rows_without_a_number_stay_last_in_both_directions(page):
    for _ in range(2):
        click_head(page, 4)  # the control has no effective limit
        values = column(page, 4)
        assert "" in values
        assert values.index("") == len([v for v in values if v])


def test_a_reason_moves_with_its_numbers(page):
    click_head(page, 5)
    moved = page.execute_script(
        "return [...document.querySelector('table[data-sortable]').tBodies].map(b => b.rows.length)"
    )
    assert set(moved) == {2}


def test_sorting_and_folding_work_from_the_keyboard(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.find_element(By.CSS_SELECTOR, "table[data-sortable] th:nth-child(7) button").send_keys(Keys.ENTER)
    assert sorting(page)[6] == "ascending"
    more = page.find_element(By.CSS_SELECTOR, "button.more")
    more.send_keys(Keys.SPACE)
    assert more.get_attribute("aria-expanded") == "true"


def test_single_values_unfold_below_their_limit(page):
    from selenium.webdriver.common.by import By

    more = page.find_element(By.CSS_SELECTOR, "button.more")
    rows = [page.find_element(By.ID, i) for i in more.get_attribute("aria-controls").split()]
    assert len(rows) == 5
    assert not any(row.is_displayed() for row in rows)
    more.click()
    assert all(row.is_displayed() for row in rows)
    assert more.get_attribute("aria-expanded") == "true"
    more.click()
    assert not any(row.is_displayed() for row in rows)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_never_scrolls_sideways(page, width):
    size(page, width)
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width


def test_on_a_phone_the_matrix_is_read_as_cards(page):
    size(page, 390)
    width, shown = page.execute_script(
        "const c = document.querySelector('.matrix td.cell');"
        "return [c.getBoundingClientRect().width, getComputedStyle(c, '::before').content]"
    )
    assert width <= 390
    assert shown.strip('"') == "process"


def background(page):
    return page.execute_script("return getComputedStyle(document.body).backgroundColor")


def ink(page):
    return page.execute_script("return getComputedStyle(document.querySelector('svg text')).fill")


def test_the_theme_follows_the_system_and_the_button_overrules_it(page):
    from selenium.webdriver.common.by import By

    light, light_ink = background(page), ink(page)
    theme(page, "dark")
    dark, dark_ink = background(page), ink(page)
    assert light != dark
    assert light_ink != dark_ink
    button = page.find_element(By.ID, "theme")
    until(lambda: button.text == "Light theme")  # the page hears of the system's change after it shows it
    button.click()
    assert (background(page), ink(page)) == (light, light_ink)
    button.click()
    assert background(page) == dark


def test_a_link_of_the_matrix_leads_to_its_numbers(page):
    target = page.execute_script(
        "const a = document.querySelector('.matrix .line td a'); a.click();"
        "return document.querySelector(':target').tagName"
    )
    assert target == "TBODY"


def test_every_picture_has_a_name_and_no_two_ids_are_the_same(page):
    names = page.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')].map(e => e.ariaLabel)"
    )
    assert len(names) >= 8
    assert all(names)
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_comparison_fetches_nothing_fits_a_phone_and_shows_its_outcome_on_the_first_screen(
    browser, comparison
):
    theme(browser, "light")
    for width in (390, 768, 1280):
        size(browser, width)
        browser.get(comparison)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
        places = browser.execute_script(
            "return ['.outcomes .v', '#fig-ratio-1 svg'].map("
            "s => document.querySelector(s).getBoundingClientRect().bottom)"
        )
        assert max(places) <= 900, width
    assert "slower" in texts(browser, ".outcomes .v")[0]
    light = ink(browser)
    theme(browser, "dark")
    assert ink(browser) != light


def test_what_tenants_see_fits_a_phone_in_both_themes_and_opens_to_its_evidence(browser, seen):
    from selenium.webdriver.common.by import By

    theme(browser, "light")
    for width in (390, 768, 1280):
        size(browser, width)
        browser.get(seen)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
        picture = browser.execute_script(
            "return document.querySelector('#fig-visibility svg').getBoundingClientRect().right"
        )
        assert picture <= width
    more = browser.find_element(By.CSS_SELECTOR, "#visibility button.more")
    row = browser.find_element(By.ID, more.get_attribute("aria-controls").strip())
    assert not row.is_displayed()
    more.click()
    assert row.is_displayed() and "of process.seen" in row.text
    mark = "return getComputedStyle(document.querySelector('#visibility .v-shared:not(.expected)')).color"
    light = browser.execute_script(mark)
    theme(browser, "dark")
    assert browser.execute_script(mark) != light


def test_the_literature_stands_beside_its_claims_and_below_them_on_a_phone_in_both_themes(browser, laddered):
    for width, columns in ((390, 1), (1280, 2)):
        size(browser, width)
        theme(browser, "light")
        browser.get(laddered)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
        tracks = browser.execute_script(
            "return getComputedStyle(document.querySelector('.literature li')).gridTemplateColumns"
        )
        assert len(tracks.split()) == columns, tracks
    light = ink(browser)
    theme(browser, "dark")
    assert ink(browser) != light
    assert "inverted" in " ".join(texts(browser, "#claims .v"))
