"""The page, as an HTML parser sees it and as a browser does."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from lth_bench.experiments.experiment import Choice
from lth_bench.reports.escaping import plain
from lth_bench.reports.leaderboards import verdict_sentence
from lth_bench.reports.page.content import PageContent
from lth_bench.reports.page.render import LONGEST, page
from lth_bench.reports.suites import SuiteText
from lth_bench.results.evidence import Trouble
from lth_bench.results.frame import BLOCK, load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.records import write_plan
from support import records
from support.browsers import opened
from support.documents import write_document
from support.hostile import HOSTILE
from support.records import planned, write_run

SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 50" width="100pt">
 <style>* {{ fill: red }}</style><script>alert(1)</script>
 <foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>
 <defs><clipPath id="c"><rect width="90" height="40"/></clipPath><path id="m" d="M 0 0 L 1 1"/></defs>
 <g id="method-0" clip-path="url(#c)" onclick="alert(1)">
  <path d="M 0 0 L 9 9" style="fill: none; stroke: #0072b2; background: url(https://example.com/x.png)"/>
  <use xlink:href="#m" x="3" y="4" transform="translate(1 2)"/><use xlink:href="https://example.com/#m"/>
 </g>
 <g id="method-1"><path d="M 0 9 L 9 0" fill="url(https://example.com/#x)"/></g>
 <image href="https://example.com/x.png"/><a href="javascript:alert(1)"><text>link</text></a>
 <text x="1" y="9" style="font-size: 9px">{label}</text>
</svg>"""


def record(item, accuracy, **changes):
    sparsity = item.experiment.sparsity
    shown = {
        "sparsity": {"measured": sparsity, "effective": sparsity, "collapsed": []},
        "timing": {"seconds": 1.0, "latency": 0.001},
    }
    return records.record(item, accuracy, **shown, **changes)


def made(folder):
    """A run directory with two models, three methods, a control, and one experiment of each status."""
    rows = []
    for model, seed in itertools.product(("lenet_300_100", "lenet_5"), range(3)):
        at = {"model": Choice(model)}
        rows.append((planned("dense", 0.0, seed, **at), 0.90 + seed / 100))
        rows += [(planned("imp", s, seed, **at), 0.91 - s / 100 + seed / 100) for s in (0.5, 0.9)]
        rows += [(planned("imp, redraw", 0.5, seed, control=Choice("redraw"), **at), 0.85 + seed / 100)]
        rows += [(planned("snip", s, seed, **at), 0.89 - s * 0.85 + seed / 50) for s in (0.5, 0.9)]
    item = planned("random", 0.9, 0)
    rows += [(planned("random", 0.5, 0), 0.2), (item, "diverged")]
    rows += [(planned("random", 0.9, 1), "failed"), (planned("random", 0.9, 2), "missing")]
    write_run(folder, rows, record)
    return load(folder)


def judged(found):
    """Verdicts and badges as the harness gives them, for all methods and controls of a board."""
    rows = found.rows[(found.rows["target"] > 0) & (found.rows["control"] == "")]
    answers = [answer for answer, _ in zip(itertools.cycle(("wins", "fails", "unknown")), rows.index, strict=False)]
    verdicts = rows[[*BLOCK, "method", "target"]].assign(verdict=answers, why="because.")
    badges = rows[[*BLOCK, "method"]].drop_duplicates()
    numbers = {"question": "Does it matter?", "difference": 1.5, "lower": 0.5, "upper": 2.5, "n": 3, "verdict": "yes"}
    return verdicts, badges.assign(control="redraw", **numbers)


MADE = SuiteText("made", "All that was made", "A suite for pages.", 'title = "All that was made"\n')


def content(results, label="a figure", suites=None):
    found = summarise(results.frame)
    figures = [
        (f"{label} {kind}", kind, place, SVG.format(label="label")) for place, _ in found.blocks() for kind in "ab"
    ]
    return PageContent(results, found, *judged(found), figures, suites or [MADE])


@pytest.fixture(scope="module")
def made_content(tmp_path_factory):
    return content(made(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def source(made_content):
    return page(made_content)


WRITABLE = [text for text in HOSTILE if text.encode(errors="replace").decode() == text]  # pandas holds no surrogates


def hostile_content(folder):
    """Every text that can come from outside replaced by one of the hostile ones, all of which occur."""
    results = made(folder)
    texts = itertools.cycle(WRITABLE)
    for number, text in enumerate(WRITABLE):
        key = f"{number:020x}"
        item = planned("imp", 0.5, number)
        write_document(folder, record(item, 0.5, key=key, label=text, notes={text: [text]}, __proto__={"x": text}))
    results = load(folder)
    frame = results.frame
    for name in ("dataset", "model", "recipe"):
        names = {old: next(texts) for old in dict.fromkeys(frame[name])}
        frame = frame.assign(**{name: frame[name].map(names)})
    labels = itertools.cycle(WRITABLE)
    frame = frame.assign(method=[next(labels) for _ in frame.index], suite=[next(labels) for _ in frame.index])
    frame = frame.assign(unfit=[next(labels) for _ in frame.index], environment=[next(labels) for _ in frame.index])
    frame.loc[frame["status"] != "done", "key"] = HOSTILE[1]
    trouble = [Trouble(*[text] * 5) for text in HOSTILE]
    evidence = dataclasses.replace(results.evidence, troubles=trouble)
    for counts in evidence.environment.values():
        counts.update(HOSTILE)
    made_of = content(dataclasses.replace(results, frame=frame, evidence=evidence))
    words = {name: [next(texts) for _ in made_of.verdicts.index] for name in ("verdict", "why")}
    asked = {name: [next(texts) for _ in made_of.badges.index] for name in ("control", "question", "verdict")}
    place = made_of.figures[0][2]
    figures = [
        (text, text, place if number % 2 else (text, text, text), SVG.format(label="x"))
        for number, text in enumerate(HOSTILE)
    ]
    return dataclasses.replace(
        made_of,
        verdicts=made_of.verdicts.assign(**words),
        badges=made_of.badges.assign(**asked),
        figures=[*figures, *((text, "", place, text) for text in HOSTILE)],
        suites=[SuiteText(text, text, text, f"{text}\n  {text}") for text in HOSTILE],
    )


@pytest.fixture(scope="module")
def hostile_source(tmp_path_factory):
    return page(hostile_content(tmp_path_factory.mktemp("hostile")))


class Seen(HTMLParser):
    """The elements with their attributes, the text outside scripts, and the JSON in them."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.text, self.json, self.inside = [], "", [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.json.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.json[-1] += data
        elif self.inside != "style":
            self.text += data

    def handle_comment(self, data):
        self.elements.append(("comment", {}))

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


TAGS = """
html head meta title style body header p h1 h2 h3 dl div dt dd b span nav ul li a form label input select option button
output main details summary section table caption thead tbody tr th td small em i code pre figure figcaption dialog
script svg defs g path use text rect clippath u
"""


def check_inert(seen):
    """Nothing but the elements of the template and of plain drawings, no handler, no style, no link elsewhere."""
    assert {tag for tag, _ in seen.elements} <= set(TAGS.split())
    assert [attributes.get("type") for tag, attributes in seen.elements if tag == "script"].count(None) == 1
    for _, attributes in seen.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("style", "src", "srcdoc", "action")
        ]
        assert (attributes.get("href") or attributes.get("xlink:href") or "#").startswith("#")
        assert not any("url(" in (value or "").replace("url(#f", "") for value in attributes.values())


def test_a_page_is_whole_without_a_browser(source):
    seen = Seen(source)
    check_inert(seen)
    assert "92.00" in seen.text and "1 diverged, 1 failed, 1 missing" in seen.text
    for section in ("Winning tickets?", "Sanity checks", "What did not finish", "Experiments", "Run it again"):
        assert section in seen.text
    assert "a | <b>failed</b>" in seen.text and MADE.text in seen.text
    assert seen.text.count(MADE.title) == 3, "as the title, as the heading, and in the file"
    assert MADE.description in seen.text
    assert "lth-bench run suites/made.toml --data DIR" in seen.text
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert seen.count("svg") == 4 and seen.count("table") >= 8


def test_every_experiment_has_its_record_and_its_command(source, made_content):
    seen = Seen(source)
    records = {item["key"]: item for item in map(json.loads, seen.json[:-1])}
    assert records == {key: json.loads(text) for key, text in made_content.results.documents()}
    rows = [attributes for tag, attributes in seen.elements if tag == "tr" and "data-command" in attributes]
    assert len(rows) == len(made_content.results.frame) == len(records) + 1
    named = {
        json.loads(seen.json[int(row["data-record"])])["key"]: row["data-command"]
        for row in rows
        if "data-record" in row
    }
    assert named == {key: f"""lth-bench run suites/made.toml --only "key == '{key}'" --data DIR""" for key in records}


def test_the_policy_admits_only_what_is_on_the_page(source):
    import base64
    import hashlib

    policy = next(attributes["content"] for _, attributes in Seen(source).elements if "http-equiv" in attributes)
    for kind, pattern in (("style", "<style>(.*?)</style>"), ("script", "<script>(.*?)</script>")):
        (text,) = re.findall(pattern, source, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy


def test_a_drawing_keeps_what_is_drawn_and_loses_the_rest(source):
    first = source[source.index("<svg") : source.index("</svg>")]
    assert 'stroke="#0072b2"' in first and 'clip-path="url(#f0-c)"' in first and 'href="#f0-m"' in first
    assert 'data-number="0"' in first and 'transform="translate(1 2)"' in first and ">label<" in first
    assert 'role="img"' in first and 'aria-label="a figure a"' in first
    assert not re.search("example|script|alert|foreign|style|link", first)


def test_numbers_that_are_unknown_are_left_out_and_named(source):
    assert "Not in these records: " in source and "training FLOPs · training × dense" in source
    assert ">latency</th>" in source and ">CSR</th>" not in source


def test_hostile_texts_are_shown_and_do_nothing(hostile_source):
    hostile_source.encode()
    seen = Seen(hostile_source)
    check_inert(seen)
    assert len([name for name, attributes in seen.elements if name == "script"]) == len(seen.json)
    for text in map(json.loads, seen.json[:-1]):
        assert text["key"]
    for text in HOSTILE:
        if len(plain(text)) <= LONGEST:
            assert seen.text.count(plain(text)) >= 3, text
    assert max(map(len, re.split("[<>]", re.sub("<script.*?</script>", "", hostile_source, flags=re.S)))) < 25_000


def test_more_experiments_than_a_page_can_hold_are_told_where_they_lie(made_content, monkeypatch):
    count = len(made_content.results.frame)
    monkeypatch.setattr("lth_bench.reports.page.render.EMBEDDED", count - 1)
    seen = Seen(page(made_content))
    assert len(seen.json) == 1 and "too many records" in seen.text
    assert sum("data-command" in attributes for _, attributes in seen.elements) == count
    monkeypatch.setattr("lth_bench.reports.page.render.LISTED", count - 1)
    seen = Seen(page(made_content))
    assert sum("data-command" in attributes for _, attributes in seen.elements) == 3
    assert f"{count - 3} that are done are not listed" in seen.text


def test_words_on_tickets_are_those_of_the_other_tables(source, made_content):
    text = " ".join(Seen(source).text.split())
    verdicts, rows = made_content.verdicts, made_content.leaderboards.rows
    counts = verdicts["verdict"].value_counts()
    assert verdict_sentence() in text
    assert f"{counts['wins']} win, {counts['fails']} fail, {counts['unknown']} are unknown." in text
    winning = rows.loc[verdicts.index[verdicts["verdict"] == "wins"], "n"] > 0
    assert source.count('<em class="wins">ticket wins</em>') == winning.sum() > 0


def test_a_run_in_which_nothing_finished_has_its_page(tmp_path):
    write_plan(tmp_path, "made", [planned("imp", 0.5, 0)])
    (tmp_path / "records").mkdir()
    seen = Seen(page(content(load(tmp_path), suites=[SuiteText("made", "made")])))
    assert "1 missing" in seen.text and "lth-bench run made --data DIR" in seen.text


def test_what_only_finds_tickets_for_others_is_no_method_of_the_page(tmp_path):
    found_for_others = dataclasses.replace(planned("imp, for its ticket", 0.5, 0), helper=True)
    rows = [(planned(name, 0.5, 0), 0.9) for name in ("imp", "snip")] + [(found_for_others, 0.9)]
    write_run(tmp_path, rows)
    assert (
        "2 methods on the same models" in Seen(page(content(load(tmp_path), suites=[SuiteText("made", "made")]))).text
    )


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(source, encoding="utf-8")
    return path


def column(table, head):
    number = table.locator("thead tr:last-child th").all_inner_texts().index(head)
    return table.evaluate(
        "(table, number) => [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[number].innerText)",
        number,
    )


def test_columns_are_sorted_as_numbers_with_what_is_missing_last(browser, file):
    with opened(browser, file) as tab:
        table = tab.locator("table.long").first
        before = column(table, "p")
        head = table.locator("th", has_text=re.compile("^p$"))
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        numbers = [float(text.removeprefix("< ")) for text in column(table, "p") if text != "–"]
        assert numbers == sorted(numbers) and column(table, "p")[len(numbers) :] == ["–"] * (len(before) - len(numbers))
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert column(table, "p")[: len(numbers)] == [text for text in column(table, "p") if text != "–"]
        accuracy = table.locator("th", has_text=re.compile("^accuracy$")).last
        accuracy.get_by_role("button").click()
        found = [float(text.split()[0]) for text in column(table, "accuracy") if text != "–"]
        assert found == sorted(found) and head.get_attribute("aria-sort") is None
        accuracy.get_by_role("button").click()
        accuracy.get_by_role("button").click()
        assert column(table, "p") == before


def test_rows_are_filtered_by_text_model_target_and_kind(browser, file):
    with opened(browser, file) as tab:
        table = tab.locator("table.long").first
        everything = column(table, "method")
        tab.get_by_label("Find").fill("snip")
        assert column(table, "method") == ["snip"] * 2
        tab.get_by_role("button", name="Clear").click()
        tab.locator("select[name=target]").select_option("90%")
        assert set(column(table, "target")) == {"90%"}
        assert tab.locator(".board").first.locator("thead th:visible").all_inner_texts() == ["method", "90%"]
        tab.locator("select[name=target]").select_option("all")
        tab.get_by_label("methods only").check()
        assert column(table, "method") == [name for name in everything if "control" not in name] != everything
        tab.get_by_label("Model").select_option("lenet_5")
        assert tab.locator(".block:visible h2").all_inner_texts() == ["lenet_5 on digits"]
        assert set(column(tab.locator("table.experiments"), "leaderboard")) == {"lenet_5 on digits"}
        assert " of " in tab.locator("output").inner_text()


def test_a_record_is_shown_with_the_command_that_makes_it_again(browser, file):
    with opened(browser, file) as tab:
        chosen = tab.locator("table.experiments button.open").nth(4)
        key = chosen.inner_text()
        chosen.press("Enter")
        shown = json.loads(tab.locator("dialog .record").inner_text())
        assert shown["key"] == key and "checksum" not in shown
        assert f"key == '{key}'" in tab.locator("dialog .command").inner_text()
        tab.keyboard.press("Escape")
        assert not tab.locator("dialog").is_visible()


def test_a_method_that_is_pointed_at_stands_out_in_the_figures(browser, file):
    with opened(browser, file) as tab:
        block = tab.locator(".block").first
        block.locator(".board button.choose").first.focus()
        assert block.locator("svg.picking").count() == 2
        assert block.locator("svg .picked").evaluate_all("parts => parts.map(part => part.dataset.number)") == [
            "0",
            "0",
        ]
        block.locator(".board th.method").nth(1).hover()
        assert block.locator("svg .picked").first.get_attribute("data-number") == "1"
        assert tab.locator(".block").nth(1).locator("svg.picking").count() == 0
        block.locator("h2").hover()
        assert block.locator("svg .picked").first.get_attribute("data-number") == "0", "the one that has the focus"


def test_what_is_chosen_stands_in_the_address_and_is_shown_from_there(browser, file):
    with opened(browser, file) as tab:
        block = tab.locator(".block").first
        for number in (0, 1):
            block.locator("button.choose").nth(number).click()
        table = tab.locator("table.long").first
        table.locator("th", has_text=re.compile("^p$")).get_by_role("button").click()
        chooser = tab.locator(".chooser").first
        chooser.locator("summary").click()
        chooser.get_by_label(re.compile("measured")).uncheck()
        tab.locator("select[name=target]").select_option("90%")
        address = tab.url
        rows, heads = column(table, "method"), table.locator("thead tr:last-child th:visible").all_inner_texts()
    assert "measured" not in heads
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(address)
    table = tab.locator("table.long").first
    assert column(table, "method") == rows
    assert table.locator("thead tr:last-child th:visible").all_inner_texts() == heads
    assert table.locator("th", has_text=re.compile("^p$")).get_attribute("aria-sort") == "ascending"
    pressed = tab.locator(".block").first.locator("button.choose[aria-pressed=true]")
    assert pressed.count() == 2
    picked = tab.locator(".block").first.locator("svg .picked")
    assert set(picked.evaluate_all("parts => parts.map(part => part.dataset.number)")) == {"0", "1"}
    context.close()


def test_the_page_is_as_wide_as_the_window_and_legible(browser, file):
    with opened(browser, file) as tab:
        for width, scheme in itertools.product((1280, 400), ("light", "dark")):
            tab.set_viewport_size({"width": width, "height": 800})
            tab.emulate_media(color_scheme=scheme)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            sizes = tab.evaluate(
                "[...document.querySelectorAll('body *:not(svg *, script)')].filter(e => e.checkVisibility())"
                ".map(e => parseFloat(getComputedStyle(e).fontSize))"
            )
            assert min(sizes) >= 12
            ink, paper = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
            assert ink != paper


def test_without_scripts_tables_figures_and_commands_are_there(browser, file):
    with opened(browser, file, java_script_enabled=False) as tab:
        assert tab.locator("table:visible").count() >= 8 and tab.locator("svg[role=img]:visible").count() == 4
        assert not tab.locator("form").is_visible() and not tab.locator("dialog").is_visible()
        text = tab.locator("table.experiments").inner_text()
        assert re.search(r"records/[0-9a-f]{20}\.json", text)


OPEN_ALL = """() => {
  return [...document.querySelectorAll("tr[data-record]")].map((row) => {
    row.querySelector("button.open").click();
    const shown = document.querySelector("dialog .record").textContent;
    document.querySelector("dialog .close").click();
    return [row.dataset.record, shown];
  });
}"""


def test_hostile_texts_do_nothing_in_a_browser_either(browser, hostile_source, tmp_path):
    records = [json.loads(text) for text in Seen(hostile_source).json[:-1]]
    path = tmp_path / "page.html"
    path.write_text(hostile_source, encoding="utf-8")
    with opened(browser, path, viewport={"width": 1280, "height": 800}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 1280
        assert tab.locator("iframe, img, object, embed, link, base, svg script").count() == 0
        shown = {int(number): json.loads(text) for number, text in tab.evaluate(OPEN_ALL)}
        assert len(shown) > len(WRITABLE) and shown == {number: records[number] for number in shown}
        tab.get_by_label("Find").fill(HOSTILE[0])
        tab.locator("thead button").first.click()
        tab.get_by_role("button", name="Clear").click()
        tab.set_viewport_size({"width": 400, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") == 400
