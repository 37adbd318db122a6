"""The site of all boards: every link leads somewhere, and pages show what the records say."""

from __future__ import annotations

import html
import re
import shutil
from urllib.parse import urlsplit

import pytest

from lth_bench.reports.site.site import write_site
from lth_bench.storage.files import publish
from lth_bench.storage.records import read_records, suite_copy
from lth_bench.storage.submission import Submission, write_submission
from lth_bench.storage.verified import write_verification
from support.browsers import opened
from support.places import ROOT
from support.suites import finish, pruner, write_suite

CLAIM = """
[[claims]]
text = "Magnitude keeps more than chance"
left = { method = "magnitude" }
relation = ">"
right = { method = "random" }
"""


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """A small board that was submitted and in part confirmed, and a published one."""
    folder = tmp_path_factory.mktemp("boards")
    suite = write_suite(folder.parent / "small.toml", pruner("random") + pruner("magnitude") + CLAIM, sparsities=[0.5])
    small = folder / "small"
    finish(suite, small)
    publish(suite_copy(small, "small"), suite.read_bytes())
    write_submission(small, Submission(1, "A. <b>Author</b>", "0"))
    key = read_records(small)[0].key
    write_verification(small, "A. Reader", "2026-01-01T00:00:00+00:00", "0", {key: "same"})
    shutil.copytree(ROOT / "leaderboards" / "moons", folder / "moons")
    return [folder / "moons", small]


@pytest.fixture(scope="module")
def site(boards, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    pages = list(write_site(boards, out))
    assert pages[-1] == out / "index.html"
    return out


def text(path):
    return html.unescape(re.sub(r"<[^>]*>", " ", path.read_text("utf-8")))


def test_every_link_leads_to_a_file_of_the_site_or_to_a_paper(site):
    seen = 0
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text("utf-8")):
            parts = urlsplit(html.unescape(link))
            if parts.scheme:
                assert parts.scheme in ("https", "data"), link
            elif parts.path:
                target = page.parent / parts.path
                assert target.is_file(), f"{page}: {link}"
                assert site in target.resolve().parents
                seen += 1
    assert seen > 500


def test_there_is_a_page_for_each_board_method_control_and_record(site, boards):
    for board in boards:
        keys = {record.key for record in read_records(board)}
        records = site / "boards" / board.name / "records"
        assert {path.stem for path in records.glob("*.html")} == keys == {path.stem for path in records.glob("*.json")}
        assert (site / "boards" / board.name / "report.html").exists()
    assert {path.stem for path in (site / "pruners").iterdir()} == {"dense", "imp", "magnitude", "random"}
    assert {path.stem for path in (site / "controls").iterdir()} == {"redraw", "random_layerwise"}


def test_the_front_page_tells_of_boards_methods_and_claims(site):
    shown = text(site / "index.html")
    for words in ("Moons", "faults", "A. <b>Author</b>", "1 of 2", "claims shown", "Frankle & Carbin 2019"):
        assert words in shown, words
    assert "@inproceedings{" in (site / "papers.bib").read_text()


def test_the_page_of_a_method_has_its_paper_results_checks_and_claims(site):
    shown = text(site / "pruners" / "imp.html")
    for words in ("The Lottery Ticket Hypothesis", "50 units on moons", "rate=0.3", "Sanity checks", "@inproceedings{"):
        assert words in shown, words
    assert "Magnitude keeps more than chance" in text(site / "pruners" / "magnitude.html")


def test_the_page_of_a_record_says_who_confirmed_it_and_how_to_have_it_again(site, boards):
    first, second = read_records(boards[1])
    pages = [site / "boards" / "small" / "records" / f"{one.key}.html" for one in (first, second)]
    assert "re-run, the same bits" in text(pages[0]) and "self-reported" in text(pages[1])
    for record, page in zip((first, second), pages, strict=True):
        shown = text(page)
        assert f"{100 * record.test.last.accuracy:.2f}" in shown
        assert f"key == '{record.key}'" in shown and record.ticket.sha256 in shown
        assert f"{record.sparsity.kept:,} of {record.sparsity.prunable:,}" in shown


def test_pages_are_as_wide_as_the_window_and_quiet(site, browser):
    record = next((site / "boards" / "moons" / "records").glob("*.html"))
    for page in (site / "index.html", site / "pruners" / "imp.html", record, site / "boards/moons/report.html"):
        own = {(site / name).as_uri() for name in ("page.css", "page.js")}
        for width in (1280, 400):
            with opened(browser, page, own, viewport={"width": width, "height": 800}) as tab:
                assert tab.evaluate("document.documentElement.scrollWidth") == width
                assert tab.locator("h1").count() == 1
                assert tab.evaluate("getComputedStyle(document.body).maxWidth") != "none", "the style sheet is read"


def test_tables_are_sorted_and_there_without_scripts(site, browser):
    with opened(browser, site / "index.html", {(site / "page.css").as_uri()}, java_script_enabled=False) as tab:
        assert tab.locator("main table").count() == 3 and tab.locator("thead button").count() == 0
    own = {(site / name).as_uri() for name in ("page.css", "page.js")}
    with opened(browser, site / "index.html", own) as tab:
        table = tab.locator("main table").first
        table.get_by_role("button", name="experiments").click()
        assert table.locator("tbody th").all_inner_texts() == ["faults", "Moons"]


def test_a_folder_without_boards_is_refused(command, tmp_path):
    done = command("site", tmp_path, "--out", tmp_path / "site")
    assert done.returncode == 2 and f"no boards in {tmp_path}" in done.stderr
