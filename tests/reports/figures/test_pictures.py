"""Figures of records made for the purpose, in all formats, of all kinds, and of what is hardly there."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

import matplotlib.style
import numpy as np
import pandas as pd
import pytest

from lth_bench.experiments.experiment import Choice, Planned
from lth_bench.reports.figures import axes as scales
from lth_bench.reports.figures.pareto import front
from lth_bench.reports.figures.pictures import pictures, save, save_all
from lth_bench.reports.figures.sheet import spread
from lth_bench.reports.figures.style import STYLE, marks, width, wrapped
from lth_bench.results.frame import Results, load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.records import write_plan
from support.documents import entry, write_document
from support.hostile import HOSTILE
from support.records import RECIPE, planned, write_run

KINDS = ["accuracy", "early-stop", "pareto", "pareto-inference", "layers", "curves", "overlap"]
LAYERS = {"second.weight": 300, "first.weight": 700}  # in the order of the network
EMPTY = {"measured": 1.0, "layers": {name: {"size": size, "kept": 0} for name, size in LAYERS.items()}}
ALONE = ["accuracy", "layers", "curves"]
TARGETS = (0.5, 0.9, 0.98)


def record(item, accuracy, **changes):
    """A record with all that figures read."""
    sparsity, step = item.experiment.sparsity, 6
    moved = (
        round(len(item.label) % 3 * 0.2 * (1 - sparsity) * 700) if sparsity else 0
    )  # so that methods differ in FLOPs
    kept = {name: round(size * (1 - sparsity)) for name, size in LAYERS.items()}
    kept = {"second.weight": kept["second.weight"] + moved, "first.weight": kept["first.weight"] - moved}
    point = {"accuracy": accuracy, "loss": 1.0, "step": 10}
    early = {"accuracy": accuracy, "loss": 1.0, "step": step, "censored": False}
    train = {"kind": "train", "step": 0, "steps": 10, "examples": 50, "kept": list(kept.values())}
    return {
        **entry(item),
        "status": "done",
        "sparsity": {
            "measured": sparsity,
            "layers": {name: {"size": LAYERS[name], "kept": kept[name]} for name in sorted(LAYERS)},
            "collapsed": [],
        },
        "network": {
            "layers": [{"name": name, "shape": [size], "flops": size**2} for name, size in LAYERS.items()],
            "other_flops": 10,
            "parameters": 1000,
        },
        "test": {"last": point, "best_validation": early, "early_stop": early},
        "curve": {"step": [5, 10, 2, 6, 10], "validation_accuracy": [0.1, 0.2, 0.5, 0.7, accuracy]},
        "events": [train] * (1 + len(item.label) % 3),
        "timing": {"seconds": 1.0},
        **changes,
    }


def network(layers):
    listed = [{"name": name, "shape": [10], "flops": 20} for name in layers]
    return {"layers": listed, "other_flops": 0, "parameters": 1200}


def written(tmp_path, rows):
    """Results of (planned, accuracy, status or changes of a record)."""
    write_run(tmp_path, rows, record)
    return load(tmp_path)


def dense(seeds=2, accuracy=0.95):
    return [(planned("dense", 0.0, seed), accuracy + seed / 100) for seed in range(seeds)]


def methods(names, targets=TARGETS, seeds=2):
    return [
        (planned(name, target, seed), 0.97 - target / 10 - seed / 100 - 0.011 * (place % 9))
        for place, name in enumerate(names)
        for target in targets
        for seed in range(seeds)
    ]


def overlaps(found):
    """For every leaderboard and target: methods overlap by a half, one with itself by nothing known."""
    return {
        (*block, target): pd.DataFrame(0.5, names, names).mask(np.eye(len(names), dtype=bool))
        for block, rows in found.blocks()
        for target in set(rows["target"])
        for names in [list(dict.fromkeys(rows["method"]))]
    }


def drawn(results):
    found = summarise(results.frame)
    return {picture.kind: picture for picture in pictures(results, found, overlaps(found))}


def all_of(directory):
    results = load(directory)
    return pictures(results, summarise(results.frame), None)


def texts(figure):
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


NAMES = ["imp", "snip", "random", *(f"m{place}" for place in range(6))]  # more than one panel holds


@dataclasses.dataclass(frozen=True)
class Shared:
    """Results, their pictures by kind, and what these draw, before and after it was written; each drawn once."""

    results: Results
    pictures: dict
    figures: dict
    files: dict


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    results = written(folder, dense() + methods(NAMES, (0.5, 0.9)))
    found = drawn(results)
    figures = {kind: picture.draw() for kind, picture in found.items()}
    files = {
        kind: save(dataclasses.replace(picture, draw=lambda figure=figures[kind]: figure), folder / "figures")
        for kind, picture in found.items()
    }
    return Shared(results, found, figures, files)


def save_svg(figure, path):
    """As the harness does, with texts as texts."""
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(path)


def test_every_kind_is_drawn_in_every_format(shared):
    assert list(shared.pictures) == KINDS
    for kind, picture in shared.pictures.items():
        paths = shared.files[kind]
        assert [path.name for path in paths] == [f"{picture.stem}.{kind}" for kind in ("png", "svg", "pdf")]
        assert all(path.stat().st_size > 1000 for path in paths)
        assert picture.caption.startswith("lenet_300_100 on digits: ") and picture.caption.endswith(".")
        assert "2 seeds" in picture.caption and "\n" not in picture.caption
        ElementTree.parse(paths[1])
    without = pictures(shared.results, summarise(shared.results.frame), None)
    assert [picture.kind for picture in without] == KINDS[:-1]


def test_files_are_the_same_whenever_they_are_drawn(shared, tmp_path):
    for kind in ("accuracy", "layers"):
        again = save(shared.pictures[kind], tmp_path)
        assert [path.read_bytes() for path in again] == [path.read_bytes() for path in shared.files[kind]], kind


def test_a_method_has_one_look_and_one_number_in_all_figures(shared):
    expected = {mark.gid: {mark.colour} for mark in marks(dict.fromkeys(["dense", *NAMES], ""), {"dense"}).values()}
    for kind, figure in shared.figures.items():
        colours = {}
        for line in figure.findobj(lambda artist: hasattr(artist, "get_color") and hasattr(artist, "get_marker")):
            if gid := re.match(r"method-\d+", line.get_gid() or ""):
                colours.setdefault(gid[0], set()).add(line.get_color())
        tied = {gid: seen - {"0.45"} for gid, seen in colours.items()}
        assert all(expected[gid] >= seen for gid, seen in tied.items()), kind
        assert len(tied) == len(NAMES) or kind in ("layers", "overlap"), kind
    ids = Counter(re.findall(r'\bid="([^"]*)"', shared.files["accuracy"][1].read_text()))
    assert max(ids.values()) == 1
    assert {f"method-{number}" for number in range(1, len(NAMES) + 1)} <= set(ids)


def test_seventy_two_methods_look_different():
    looks = marks(dict.fromkeys(map(str, range(72)), ""), set())
    assert len({(mark.colour, mark.marker) for mark in looks.values()}) == 72


def test_each_of_many_methods_is_named_once(tmp_path):
    names = [f"method {place}" for place in range(20)]
    figure = drawn(written(tmp_path, dense(1) + methods(names, (0.5,), 1)))["accuracy"].draw()
    assert len(figure.axes) == 4, "no odd number of panels"
    named = Counter(text.get_text() for axes in figure.axes for text in axes.texts)
    assert named == dict.fromkeys(names, 1)


def test_no_name_breaks_a_figure(tmp_path):
    items = [
        (Planned(item.experiment, name.encode("utf-8", "replace").decode(), "r", place % 2 == 0), value)
        for place, name in enumerate(HOSTILE)
        for item, value in methods([f"p{place}"], (0.9,), 1)
    ]
    found = drawn(written(tmp_path, dense(1) + items))
    for picture in (found["accuracy"], found["pareto"], found["layers"]):
        save_svg(picture.draw(), tmp_path / "figure.svg")
        ElementTree.parse(tmp_path / "figure.svg")
        assert re.fullmatch(r"[a-z0-9-]+", picture.stem)


def test_figures_of_models_with_alike_names_have_names_of_their_own(tmp_path):
    models = [Choice("m", {"x": value}) for value in (1, -1)]
    written(tmp_path, [(planned("imp", 0.5, 0, model=model), 0.9) for model in models])
    stems = [picture.stem for picture in all_of(tmp_path)]
    assert len(stems) == len(set(stems)) > 2


def test_a_title_names_the_recipe_only_where_there_are_several(tmp_path):
    rows = dense(1) + methods(["imp"], (0.5,), 1)
    assert drawn(written(tmp_path, rows))["accuracy"].caption.startswith("lenet_300_100 on digits: ")
    changed = planned("imp", 0.5, 0, recipe=dataclasses.replace(RECIPE, batch_size=7))
    other = dataclasses.replace(changed, recipe="other")
    write_plan(tmp_path, "second", [other])
    write_document(tmp_path, {**record(other, 0.9), "suite": "second"})
    assert "lenet_300_100 on digits, recipe other" in {picture.caption.split(":")[0] for picture in all_of(tmp_path)}


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        (dense(), []),
        (methods(["imp"], (0.5,), 1), ALONE),
        ([(planned("imp", 0.5, 0), "failed"), (planned("snip", 0.5, 0), "diverged")], []),
        ([(planned("imp", 0.5, 0), "missing"), *dense(1)], []),
        ([*methods(["imp"]), (planned("imp", 0.99, 0), "diverged"), (planned("snip", 0.5, 0), "failed")], ALONE),
        (
            [(planned("imp", 1.0 - 1e-9, 0), {"sparsity": EMPTY}), *dense(1, 1.0)],
            ["accuracy", "early-stop", "layers", "curves"],
        ),
        (
            [(planned("imp", 0.5, seed), 0.0) for seed in range(2)] + [(planned("snip", 0.5, 0), 1.0)],
            ["accuracy", "early-stop", "pareto-inference", "layers", "curves"],
        ),
    ],
)
def test_what_is_hardly_there_gives_no_warning(tmp_path, rows, kinds):
    written(tmp_path, rows)
    found = all_of(tmp_path)
    for picture in found:
        save_svg(picture.draw(), tmp_path / "figure.svg")
    assert [picture.kind for picture in found] == kinds


def test_early_stops_that_are_all_censored_have_no_figure(tmp_path):
    censored = {"accuracy": 0.9, "step": 10, "loss": 1.0, "censored": True}
    rows = [(item, {"test": {"last": censored, "early_stop": censored}}) for item, _ in dense() + methods(["imp", "x"])]
    assert "early-stop" not in drawn(written(tmp_path, rows))


def test_older_records_have_figures_without_costs(tmp_path):
    rows = dense() + methods(["imp", "snip"])
    write_plan(tmp_path, "made", [item for item, _ in rows])
    for item, accuracy in rows:
        older = record(item, accuracy)
        del older["network"], older["curve"]
        write_document(tmp_path, older)
    assert list(drawn(load(tmp_path))) == ["accuracy", "early-stop", "layers", "overlap"]


def test_a_survivor_is_marked_and_cannot_be_on_the_front(tmp_path):
    rows = [
        *dense(),
        *methods(["imp"]),
        *methods(["snip"], seeds=1),
        *((planned("snip", t, 1), "failed") for t in TARGETS),
    ]
    found = drawn(written(tmp_path, rows))
    assert "a hollow marker: some seed failed, diverged or is missing" in found["accuracy"].caption
    assert not {"snip"} & {text.get_text() for axes in found["pareto"].draw().axes for text in axes.texts}


def test_a_curve_starts_at_the_last_rewind(shared):
    lines = shared.figures["curves"].axes[0].lines
    (line,) = [line for line in lines if line.get_gid() == "method-1" and len(line.get_xdata()) == 3]
    assert list(line.get_xdata()) == [2, 6, 10]
    assert list(line.get_ydata()[:2]) == pytest.approx([50, 70])


def test_a_curve_shows_only_where_the_final_sparsity_held(tmp_path):
    accuracies = [0.9, 0.9, 0.5, 0.6, 0.7, 0.8]
    curve = {"step": [1, 2, 3, 4, 5, 6], "kept": [9, 9, 5, 5, 5, 5], "validation_accuracy": accuracies}
    layers = {"second.weight": {"size": 300, "kept": 2}, "first.weight": {"size": 700, "kept": 3}}
    sparsity = {"measured": 0.5, "mask": 5, "layers": layers}
    rows = [(planned("imp", 0.5, seed), {"sparsity": sparsity, "curve": curve}) for seed in (0, 1)]
    lines = drawn(written(tmp_path, rows))["curves"].draw().axes[0].lines
    assert next(list(line.get_xdata()) for line in lines if line.get_gid() == "method-0") == [3, 4, 5, 6]


def test_layers_stand_in_the_order_of_the_network_and_empty_ones_are_crossed(tmp_path):
    layers = {"second.weight": {"size": 300, "kept": 0}, "first.weight": {"size": 700, "kept": 70}}
    rows = [(planned("imp", 0.5, 0), {"sparsity": {"measured": 0.93, "layers": layers}})]
    picture = drawn(written(tmp_path, rows))["layers"]
    axes = picture.draw().axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["second", "first"]
    assert [text.get_text() for text in axes.texts] == ["100 ×", "90"]
    assert "a cross marks layers that lost all weights" in picture.caption


def test_many_layers_have_fewer_labels(tmp_path):
    layers = {f"layer{place:03}.weight": {"size": 10, "kept": place % 5} for place in range(120)}
    rows = [
        (
            planned("imp", 0.5, 0),
            {"sparsity": {"measured": 0.5, "layers": layers}, "network": network(layers), "events": []},
        )
    ]
    axes = drawn(written(tmp_path, rows))["layers"].draw().axes[0]
    assert len(axes.get_xticklabels()) == 40 and not axes.texts


def test_a_recipe_of_its_own_is_marked_and_explained(tmp_path):
    own = dataclasses.replace(RECIPE, batch_size=6)
    rows = dense() + methods(["imp"]) + [(planned("snip", t, 0, own=True, recipe=own), 0.9) for t in TARGETS]
    picture = drawn(written(tmp_path, rows))["accuracy"]
    assert "snip †" in texts(picture.draw()) and "† is trained with a recipe of its own" in picture.caption


def test_the_front_holds_what_nothing_beats_in_both():
    x, y = np.array([3.0, 1.0, 2.0, 1.0, 4.0]), np.array([9.0, 5.0, 4.0, 6.0, 9.0])
    assert front(x, y) == [3, 0]


def test_labels_are_spread_without_overlap_and_stay_in_the_room():
    wanted, heights = np.array([50.0, 50.0, 51.0, 0.0, 99.0]), np.array([10.0, 20.0, 10.0, 10.0, 10.0])
    found = spread(wanted, heights, 100.0)
    order = np.argsort(found)
    assert (np.diff(found[order]) >= (heights[order][1:] + heights[order][:-1]) / 2 - 1e-9).all()
    assert found.min() >= 5 and found.max() <= 95
    assert list(spread(np.array([30.0, 70.0]), np.array([10.0, 10.0]), 100.0)) == [30.0, 70.0]


def test_texts_are_measured_and_wrapped():
    assert width("iiii") < width("mmmm") == pytest.approx(4 * width("m"))
    lines = wrapped("for its ticket (with $adam$) " + 20 * "W", 15.0).split("\n")
    assert all(width(line) <= 15 for line in lines) and r"(with \$adam\$)" in " ".join(lines)


def test_ticks_are_round_and_enough():
    assert scales.nice(2.5, 95.0) == [3, 5, 7, 10, 15, 20, 30, 50, 70]
    assert len(scales.nice(4.0, 4.6)) >= 3


def test_drawing_needs_no_torch():
    code = "import sys, lth_bench.reports.figures.pictures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_figures_that_are_no_longer_drawn_go(tmp_path):
    (tmp_path / "overlap-of-yesterday.png").write_bytes(b"")
    (tmp_path / "mine.png").write_bytes(b"")
    assert save_all([], tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
