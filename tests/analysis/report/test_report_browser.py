"""The report in real headless Chromium."""

import browser
import matplotlib.image
import pytest
import report_runs
from pretraining_runs import run as pretraining_run

from analysis.report import report

pytestmark = pytest.mark.skipif(
    browser.PROGRAM is None, reason="no Chromium here: apt-get install chromium"
)
COLUMN = """[...document.querySelector("table.sortable").tBodies[0].rows]
    .map(row => row.cells[{}].textContent)"""
HEAD = 'document.querySelector("table.sortable").tHead.rows[1].cells[{}]'
ENTER = ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def tab():
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page with everything, and one with a wide table and published scores."""
    folder = tmp_path_factory.mktemp("runs")
    other = pretraining_run(folder / "other")
    scored = report_runs.published(folder / "scored" / "superb", params=94.7e6).parent
    return report.report(report_runs.whole(folder / "first"), [other]), report.report(scored)


def test_pages_open_without_errors_or_requests(tab, pages):
    for page in pages:
        tab.open(page)
        assert tab.run("document.querySelectorAll('figure svg').length") > 1
        assert tab.run("document.querySelectorAll('th button').length") > 5
    assert tab.problems == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []


def test_a_click_sorts_best_first_then_worst_first_then_as_before(tab, pages):
    tab.open(pages[1])
    heads = tab.run('[...document.querySelectorAll("table.sortable thead tr:last-child th")]'
                    ".map(head => head.textContent)")[:30]  # fmt: skip
    column = heads.index("PER ↓")
    before = tab.run(COLUMN.format(column))

    def click():
        tab.run(HEAD.format(column) + ".querySelector('button').click()")
        return [float(v) for v in tab.run(COLUMN.format(column)) if v != "-"]

    assert (up := click()) == sorted(up) and len(up) > 10
    assert tab.run(COLUMN.format(column))[-1] == "-"  # what is missing comes last
    assert tab.run(HEAD.format(column) + ".getAttribute('aria-sort')") == "ascending"
    assert (down := click()) == sorted(up, reverse=True)
    assert tab.run(COLUMN.format(column))[-1] == "-"
    click()
    assert tab.run(COLUMN.format(column)) == before
    assert tab.run(HEAD.format(column) + ".getAttribute('aria-sort')") is None
    assert down != up


def test_every_head_sorts_by_keyboard(tab, pages):
    tab.open(pages[1])
    count = tab.run('document.querySelector("table.sortable").tHead.rows[1].cells.length')
    for column in range(count):
        tab.run(HEAD.format(column) + ".querySelector('button').focus()")
        tab.press(*ENTER)
        assert tab.run(HEAD.format(column) + ".getAttribute('aria-sort')"), column
    names = tab.run(COLUMN.format(0))
    tab.run(HEAD.format(0) + ".querySelector('button').focus()")
    tab.press(*ENTER)
    assert tab.run(COLUMN.format(0)) == sorted(names, key=str.lower)


@pytest.mark.parametrize("which", [0, 1])
def test_a_phone_never_scrolls_sideways(tab, pages, which, tmp_path):
    tab.size(390, 844, mobile=True)
    tab.open(pages[which])
    assert tab.run("document.documentElement.scrollWidth") <= 390
    wide = tab.run("""[...document.querySelectorAll("body *")].filter(e =>
        !e.closest(".scroll, pre, svg *") && e.getBoundingClientRect().right > 391).length""")
    assert wide == 0
    picture = matplotlib.image.imread(tab.screenshot(tmp_path / "phone.png"))
    assert picture.shape[1] == 390 and picture[..., :3].std() > 0.05
    tab.size(1200, 900)


def test_light_and_dark_can_both_be_read(tab, pages, tmp_path):
    found = {}
    for scheme in ("light", "dark"):
        tab.media(scheme)
        tab.size(1200, 900)
        tab.open(pages[0])
        found[scheme] = matplotlib.image.imread(tab.screenshot(tmp_path / f"{scheme}.png"))[..., :3]
        assert found[scheme].std() > 0.05  # not blank
        colours = tab.run("""[getComputedStyle(document.body).backgroundColor,
            ...[...document.querySelectorAll("figure svg text")]
                .map(text => getComputedStyle(text).fill)]""")
        back, *texts = ([int(part) for part in c[4:-1].split(",")] for c in colours)
        commonest = max(texts, key=texts.count)
        assert _contrast(back, commonest) > 7
    tab.media("light")
    assert found["light"].mean() > 0.8 and found["dark"].mean() < 0.3


def _contrast(first, second):
    """WCAG's contrast ratio of two sRGB colours."""
    bright = []
    for colour in (first, second):
        parts = [c / 255 for c in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        bright.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(bright) + 0.05) / (min(bright) + 0.05)


def test_it_prints_with_its_settings_open(tab, pages, tmp_path):
    tab.open(pages[0])
    settings = """[...document.querySelectorAll("details:not(:has(figure)) > :last-child")]
        .map(part => part.checkVisibility())"""
    assert not any(tab.run(settings))
    tab.media(kind="print")
    assert all(tab.run(settings))
    tab.media()
    assert tab.pdf(tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_without_javascript_tables_are_just_not_sorted(tab, pages):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(pages[1])
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run("document.querySelectorAll('th button').length") == 0
    assert len(tab.run(COLUMN.format(0))) > 20
