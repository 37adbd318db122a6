"""The hash of the code that a plugin uses."""

from __future__ import annotations

import sys

import pytest

from lth_bench.storage.source_hash import modules_hash


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose `__init__` re-exports a function of its own name, from a module that imports another."""
    folder = tmp_path / "namesake"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .models import namesake\n")
    (folder / "models.py").write_text("from .layers import hidden\n\n\ndef namesake():\n    return hidden()\n")
    (folder / "layers.py").write_text("def hidden():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    modules_hash.cache_clear()
    yield folder
    modules_hash.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "namesake"]:
        del sys.modules[name]


@pytest.mark.timeout(20)
def test_a_function_of_its_packages_name_is_no_package_to_look_into(package):
    before = modules_hash(frozenset(["namesake.models"]))
    modules_hash.cache_clear()
    assert modules_hash(frozenset(["namesake.models"])) == before
    (package / "models.py").write_text("def namesake():\n    return 3\n")
    modules_hash.cache_clear()
    assert modules_hash(frozenset(["namesake.models"])) != before


def test_a_module_that_is_imported_indirectly_counts(package):
    before = modules_hash(frozenset(["namesake"]))
    (package / "layers.py").write_text("def hidden():\n    return 2\n")
    modules_hash.cache_clear()
    assert modules_hash(frozenset(["namesake"])) != before


def test_installed_packages_count_with_the_file_that_is_imported(tmp_path, monkeypatch):
    place = tmp_path / "lib" / "dist-packages"
    (place / "installed").mkdir(parents=True)
    (place / "installed" / "__init__.py").write_text("from installed import deep\n")
    (place / "installed" / "deep.py").write_text("A = 1\n")
    (tmp_path / "own.py").write_text("import installed\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.syspath_prepend(tmp_path)
    modules_hash.cache_clear()
    before = modules_hash(frozenset(["own"]))
    (place / "installed" / "deep.py").write_text("A = 2\n")
    modules_hash.cache_clear()
    assert modules_hash(frozenset(["own"])) == before
    (place / "installed" / "__init__.py").write_text("B = 2\n")
    modules_hash.cache_clear()
    assert modules_hash(frozenset(["own"])) != before
