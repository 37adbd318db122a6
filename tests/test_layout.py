"""The rooms of the package and of its tests: who may import whom."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.places import ROOT

TESTS = ROOT / "tests"
PACKAGE = ROOT / "lth_bench"
MODULES = sorted(TESTS.rglob("*.py"))
NOT_ROOMS = {"plugins", "golden", "faults", "support", "third_party"}
"""Folders of tests that are named after no folder of the package."""


def imported(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, at whatever depth."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = [(node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return plain | {f"{module}.{name}" for module, name in members}


def test_no_test_imports_from_another_test_or_from_a_conftest():
    tests = {path.stem for path in MODULES if path.stem.startswith(("test_", "conftest"))}
    guilty = {str(path.relative_to(ROOT)): names for path in MODULES if (names := forbidden(path, tests))}
    assert guilty == {}


def forbidden(path: Path, tests: set[str]) -> set[str]:
    return {name for name in imported(path) if name.split(".")[0] != "lth_bench" and tests & set(name.split("."))}


def test_every_folder_of_tests_mirrors_a_room():
    folders = {path.parent.relative_to(TESTS) for path in MODULES} - {Path()}
    rooms = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    assert {folder for folder in folders if folder.parts[0] not in NOT_ROOMS} <= rooms


def test_no_two_classes_of_the_package_have_one_name():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []


def test_modules_stay_short():
    lengths = {
        path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    session = lengths.pop(Path("training/session.py"))
    assert session <= 450 and max(lengths.values()) <= 300


@pytest.fixture
def contracts(tmp_path):
    """`lint-imports` on a copy of the packages that a test may spoil: the exit status and what it printed."""
    for package, source in (("lth_bench", PACKAGE), ("lth_bench_plugins", ROOT / "plugins")):
        shutil.copytree(source, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def lint():
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout

    return lint


def append(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line + "\n" if path.exists() else line + "\n")


def test_the_contracts_of_imports_are_kept(contracts):
    status, printed = contracts()
    assert status == 0, printed


@pytest.mark.parametrize(
    ("module", "line", "words"),
    [
        ("lth_bench/errors.py", "import lth_bench.cli.main", ["lth_bench.errors", "lth_bench.cli.main"]),
        ("lth_bench/storage/files.py", "import lth_bench.running.run", ["lth_bench.storage.files", "running.run"]),
        ("lth_bench/results/frame.py", "import torch", ["lth_bench.results.frame", "torch"]),
        ("lth_bench/training/clock.py", "import lth_bench_plugins.imp", ["lth_bench.training.clock", "plugins.imp"]),
        ("lth_bench/attic.py", "LEVEL = 0", ["attic"]),
    ],
)
def test_an_import_that_is_planted_against_the_contracts_breaks_them(tmp_path, contracts, module, line, words):
    append(tmp_path / module, line)
    status, printed = contracts()
    assert status == 1 and all(word in printed for word in words), printed


def test_an_import_cycle_is_told_also_at_type_checking_time(tmp_path, contracts):
    path = tmp_path / "lth_bench" / "pruning" / "masks.py"
    append(path, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lth_bench.pruning import doctor")
    status, printed = contracts()
    assert status == 1 and "No cycles are allowed in lth_bench.pruning" in printed, printed
