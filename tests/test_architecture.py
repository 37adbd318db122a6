"""docs/architecture.md tells the truth about the code."""

import re
import subprocess
import sys

from support.places import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_and_the_rooms_are_those_of_the_code():
    done = subprocess.run([sys.executable, "docs/rooms.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_room_says_what_lives_there():
    for folder in (path.parent for path in (ROOT / "lth_bench").glob("*/__init__.py")):
        assert re.search(rf"\| \[`{folder.name}`\]\(.+\) \| .{{20,}} \|", PAGE), folder.name


def test_every_file_that_the_page_names_is_there():
    places = [ROOT, ROOT / "lth_bench"]
    names = set(re.findall(r"`([\w./-]+/[\w./-]*|pyproject\.toml)`", PAGE))
    assert len(names) > 60
    assert [name for name in names if not any((place / name).exists() for place in places)] == []


def test_the_way_of_an_experiment_takes_ten_sentences_and_leaves_out_no_room_between_cli_and_reports():
    way = PAGE.partition("## The way of an experiment")[2].partition("## ")[0]
    assert re.findall(r"^(\d+)\. ", way, re.MULTILINE) == [str(number) for number in range(1, 11)]
    rooms = {"cli", "data", "experiments", "models", "pruning", "reports", "results", "running", "storage", "training"}
    assert rooms <= set(re.findall(r"`(\w+)/", way))
