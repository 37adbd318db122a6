"""`lth-bench tickets`: masks beside the records of a board, packed, listed, got from elsewhere, and read."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import torch

import lth_bench
from lth_bench.errors import FileFault
from lth_bench.storage.files import publish
from lth_bench.storage.records import recorded, suite_copy
from lth_bench.storage.zoo import Parcel, Zoo, parcel_path, read_zoo, write_zoo
from support.suites import finish, pruner, write_suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of methods that keep single weights, channels, and the same ones in two experiments."""
    folder = tmp_path_factory.mktemp("tickets")
    longer = {"arguments": {"retraining": "weight_rewinding"}, "label": "again"}
    methods = pruner("random") + pruner("magnitude") + pruner("magnitude", **longer) + pruner("l1_filter")
    network = '{ name = "test_resnet", arguments = { stem = "cifar" } }'
    suite = write_suite(folder / "small.toml", methods, sparsities=[0.5, 0.9], duration="4it", model=network)
    finish(suite, folder / "run")
    publish(suite_copy(folder / "run", "small"), suite.read_bytes())
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def board(run, tmp_path, command):
    """The board of a run, with its masks."""
    assert command("tickets", "pack", run).returncode == 0
    done = command("submit", run, "--to", tmp_path / "boards", "--author", "A. Author")
    assert done.returncode == 0, done.stderr
    return tmp_path / "boards" / "run"


def test_masks_of_a_board_are_those_of_the_tickets(run, board):
    assert not (board / "tickets").exists()
    for key in recorded(run):
        ours, theirs = lth_bench.load_ticket(run, key), lth_bench.load_ticket(board, key)
        for name in ("masks", "channels"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert one.keys() == other.keys() and all(torch.equal(one[layer], other[layer]) for layer in one)
        assert (theirs.step, theirs.start, theirs.final) == (ours.step, {}, {})


def test_equal_masks_share_a_file_and_files_are_small(run, board):
    zoo = read_zoo(board)
    assert sorted(zoo.masks) == recorded(run)
    files = {path.name: path.stat().st_size for path in (board / "masks").iterdir()}
    assert files == {f"{parcel.sha256}.xz": parcel.bytes for parcel in zoo.masks.values()}
    assert len(files) < len(zoo.masks)
    weights = sum(mask.numel() for mask in lth_bench.load_ticket(run, recorded(run)[0]).masks.values())
    assert max(files.values()) < weights / 8 + 2000


def test_overlaps_are_made_again_from_masks(board, command):
    table = board / "overlap.csv"
    before = table.read_text()
    table.unlink()
    assert command("report", board, "--tables", board, "--out", board / "report").returncode == 0
    assert table.read_text() == before
    frame = pd.read_csv(table)
    table.write_text(frame.assign(overlap=frame["overlap"] / 2).to_csv(index=False, lineterminator="\n"))
    done = command("verify", board)
    assert done.returncode == 1 and f"{table} is not the table" in done.stdout


def test_masks_are_listed_with_their_place(board, command):
    done = command("tickets", "list", board)
    assert done.returncode == 0
    assert done.stdout.count(" here") == len(read_zoo(board).masks)
    assert "l1_filter" in done.stdout or "L1" in done.stdout


def test_masks_from_elsewhere_are_fetched_and_checked(run, board, tmp_path, command):
    attached = tmp_path / "attached"
    assert command("tickets", "pack", run, "--to", board, "--url", attached.as_uri()).returncode == 0
    shutil.move(board / "masks", attached)
    assert command("verify", board).returncode == 0
    with pytest.raises(FileFault, match="get them by: lth-bench tickets fetch"):
        lth_bench.load_ticket(board, recorded(run)[0])
    listed = command("tickets", "list", board).stdout
    assert listed.count("  elsewhere") == 8 and f"elsewhere: {attached.as_uri()};" in listed
    assert "files" in command("tickets", "fetch", board).stdout
    assert lth_bench.load_ticket(board, recorded(run)[0]).masks
    assert "all 8 masks that it lists are here" in command("tickets", "fetch", board).stdout
    shutil.rmtree(board / "masks")
    damaged = next(attached.iterdir())
    damaged.write_bytes(damaged.read_bytes()[::-1])
    done = command("tickets", "fetch", board)
    assert done.returncode == 2 and f"{damaged.as_uri()} holds no masks" in done.stderr
    shutil.rmtree(attached)
    done = command("tickets", "fetch", board)
    assert done.returncode == 2 and "cannot get file:" in done.stderr


def test_masks_of_another_run_are_left_out(run, board, command):
    key = recorded(run)[0]
    path = run / "tickets" / f"{key}.safetensors"
    path.write_bytes(path.with_stem(recorded(run)[1]).read_bytes())
    done = command("tickets", "pack", run, "--to", board)
    assert done.returncode == 1 and f"{path} is not the ticket of its record" in done.stderr


FORGERIES = {
    "masks of another experiment": (
        lambda board, masks, key: write_zoo(board, Zoo(1, {**masks, key: other_size(masks, key, board)})),
        "keeps other numbers of weights",
    ),
    "masks of no experiment": (
        lambda board, masks, key: write_zoo(board, Zoo(1, {**masks, "0" * 20: masks[key]})),
        "which has no result here",
    ),
    "masks that are absent": (lambda board, masks, key: parcel_path(board, masks[key]).unlink(), "No such file"),
    "other bytes": (
        lambda board, masks, key: parcel_path(board, masks[key]).write_bytes(bytes(masks[key].bytes)),
        "holds no masks",
    ),
    "more bytes": (
        lambda board, masks, key: write_zoo(board, Zoo(1, {**masks, key: Parcel(masks[key].sha256, 9)})),
        "such files have at most 9",
    ),
    "no list": (lambda board, masks, key: (board / "masks.json").write_text("{}"), "masks.json"),
}


def other_size(masks, key, board):
    """Masks that keep another number of weights than those of a key."""
    kept = {name: mask.sum() for name, mask in lth_bench.load_ticket(board, key).masks.items()}
    return next(
        parcel
        for other, parcel in masks.items()
        if any(mask.sum() != kept[name] for name, mask in lth_bench.load_ticket(board, other).masks.items())
    )


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_masks_are_named(name, board, command):
    change, words = FORGERIES[name]
    masks = dict(read_zoo(board).masks)
    change(board, masks, min(masks))
    done = command("verify", board)
    assert done.returncode == 1 and words in done.stdout


def test_a_run_without_tickets_has_nothing_to_pack(run, command):
    shutil.rmtree(run / "tickets")
    done = command("tickets", "pack", run)
    assert done.returncode == 2 and f"no tickets in {run} of the 8 results" in done.stderr
    done = command("tickets", "list", run)
    assert done.returncode == 2 and "lists no masks" in done.stderr
    assert not (run / "masks.json").exists()
