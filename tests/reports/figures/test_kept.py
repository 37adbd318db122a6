"""Figures stay where what they show stays the same, and are right after whatever has happened to their files."""

from __future__ import annotations

import pytest

from lth_bench.experiments.experiment import Choice
from lth_bench.reports.figures.kept import LIST
from lth_bench.reports.figures.pictures import pictures, save_all
from lth_bench.reports.report import compare, write_report, write_tables, written
from lth_bench.results.frame import load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage import files
from support.records import planned, write_run

MODELS = [Choice("one"), Choice("two")]


class Crash(BaseException):
    """In place of the end of a process."""


def drawn(directory, accuracies):
    """All figures of a directory in which the IMP of each model has this accuracy."""
    rows = [
        (planned(name, sparsity, seed, model=model), value)
        for model, accuracy in zip(MODELS, accuracies, strict=True)
        for name, sparsity, value in (("dense", 0.0, 0.95), ("imp", 0.5, accuracy), ("imp", 0.9, accuracy - 0.02))
        for seed in range(2)
    ]
    write_run(directory, rows)
    results = load(directory)
    return pictures(results, summarise(results.frame), None)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LIST}


def only(picture, files):
    """A picture alone, and its files."""
    return [picture], {name: content for name, content in files.items() if name.startswith(f"{picture.stem}.")}


def places(folder):
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Figures, those of one changed model, and the files of both as drawn into empty folders."""
    folder = tmp_path_factory.mktemp("figures")
    sides = drawn(folder / "before", (0.9, 0.8)), drawn(folder / "after", (0.9, 0.7))
    for name, side in zip(("old", "new"), sides, strict=True):
        save_all(side, folder / name)
    return *sides, contents(folder / "old"), contents(folder / "new")


def test_only_figures_of_what_has_changed_are_drawn(tmp_path, made):
    before, after, old, new = made
    save_all(before, tmp_path)
    assert contents(tmp_path) == old
    first = places(tmp_path)
    save_all(before, tmp_path)
    assert {name for name, place in places(tmp_path).items() if place != first[name]} == {LIST}
    paths = save_all(after, tmp_path)
    assert contents(tmp_path) == new and {path.name for figure in paths for path in figure} == set(new)
    again = {name for name, place in places(tmp_path).items() if place != first[name]}
    assert again == {LIST} | {name for name in new if "-two-" in name}


@pytest.mark.parametrize("damage", ["removed", "cut", "changed"])
def test_a_figure_whose_file_is_not_as_it_was_is_drawn_again(tmp_path, made, damage):
    one, old = only(made[0][0], made[2])
    save_all(one, tmp_path)
    (victim,) = tmp_path.glob("*.svg")
    content = victim.read_bytes()
    victim.unlink()
    if damage != "removed":
        victim.write_bytes(content[:-9] if damage == "cut" else content.replace(b"0", b"1"))
    save_all(one, tmp_path)
    assert contents(tmp_path) == old


@pytest.mark.parametrize("text", ["", "{}", '{"figures": 3}', "[" * 100_000])
def test_a_list_that_cannot_be_read_is_none(tmp_path, made, text):
    one, old = only(made[0][0], made[2])
    save_all(one, tmp_path)
    tmp_path.joinpath(LIST).write_text(text)
    save_all(one, tmp_path)
    assert contents(tmp_path) == old


@pytest.mark.slow
def test_figures_are_right_after_a_crash_at_every_operation(tmp_path, made, monkeypatch):
    before, after, old, new = made
    place = next(place for place, picture in enumerate(after) if "-two-" in picture.stem)
    one, other = [before[place]], [after[place]]
    _, expected = only(other[0], new)
    for number in range(1, 100):
        folder, count = tmp_path / str(number), 0
        save_all(one, folder)

        def crash(operation, path, number=number):
            nonlocal count
            count += 1
            if count == number:
                raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(files, "before", crash)
            try:
                save_all(other, folder)
            except Crash:
                assert all(content in (old[name], new[name]) for name, content in whole(folder).items())
        save_all(other, folder)
        assert whole(folder) == expected
        if count < number:
            break
    assert number > 8  # three figures and their list: written and renamed


def whole(folder):
    return {name: content for name, content in contents(folder).items() if not name.startswith(".")}


def test_a_report_that_was_cut_short_does_not_count_as_written(tmp_path):
    write_run(tmp_path, [(planned("dense", 0.0, 0), 0.9)])
    report = compare(load(tmp_path))
    tables, texts = write_tables(report, tmp_path), write_report(report, tmp_path / "report")
    assert written(tmp_path) == [*tables, *texts]
    page = tmp_path / "report" / "report.html"
    content = page.read_bytes()
    page.unlink()
    assert written(tmp_path) == []
    page.write_bytes(content)
    assert written(tmp_path) == [*tables, *texts]
    write_run(tmp_path, [(planned("dense", 0.0, 1), 0.9)])
    assert written(tmp_path) == []
