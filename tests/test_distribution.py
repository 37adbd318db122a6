"""What is distributed is whole: source and wheel are built, and the wheel alone runs the quickstart elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from support.places import ROOT

FOLDERS = {"lth_bench": ROOT / "lth_bench", "lth_bench_plugins": ROOT / "plugins"}
"""The packages by the folder that holds their files."""
SOURCES = ["pyproject.toml", "README.md", "LICENSE", "lth_bench", "plugins"]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
SDIST = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


def call(*command, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"env": environment, "capture_output": True, "text": True, **options}
    done = subprocess.run([str(part) for part in command], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from the source distribution, which is built from a copy of the source."""
    copy, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, copy / name)
    call(sys.executable, "-c", SDIST, target, cwd=copy)
    (source,) = target.glob("*.tar.gz")
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source, cwd=target)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, and beside it only what this environment has in its site-packages."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    call(*PIP, "--python", folder / "bin" / "python", "install", "--no-deps", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    # Of folders that a .pth file names, the .pth files are not read: an editable installation does not get in.
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    return folder / "bin"


def test_every_folder_of_the_packages_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = [
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in FOLDERS.items()
        for path in folder.rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(present)


def test_a_wheel_holds_every_file_of_the_packages(wheel):
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    present = {
        f"{name}/{path.relative_to(folder)}"
        for name, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == present


@pytest.mark.timeout(600)
def test_an_installed_wheel_runs_the_quickstart_from_an_unrelated_folder(environment, tmp_path):
    imported = call(environment / "python", "-c", "import lth_bench; print(lth_bench.__file__)", cwd=tmp_path)
    assert Path(imported.strip()).is_relative_to(environment.parent)
    only = "model == 'lenet_300_100' and sparsity <= 0.5 and seed == 0 and pruner in ['dense', 'magnitude']"
    shown = call(environment / "lth-bench", "run", "quickstart", "--out", "out", "--only", only, cwd=tmp_path)
    assert "one-shot magnitude" in shown
    assert len(list((tmp_path / "out" / "records").iterdir())) == 2
    assert (tmp_path / "out" / "report" / "report.html").stat().st_size > 0


def test_the_oldest_torch_that_is_tested_is_the_oldest_that_is_allowed():
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    pinned = [
        line for line in (ROOT / "oldest.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch==")
    ]
    (least,) = [text.removeprefix("torch>=") for text in allowed if text.startswith("torch>=")]
    assert pinned == [f"torch=={least}.0"]
