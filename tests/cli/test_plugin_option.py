"""Methods of one file, which `--plugin` names: nothing is installed, and the run directory keeps a copy."""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap

import pytest

from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.code import Code
from lth_bench.storage.source_hash import forget_hashes
from support.documents import read_documents
from support.suites import pruner, write_suite

SIGNED = '''
"""A pruner in a file of its own."""

from dataclasses import dataclass

from lth_bench import Session, hookimpl


@dataclass(frozen=True)
class Signed:
    """Keep the most positive weights."""

    sign: int = 1

    def __call__(self, session: Session) -> None:
        session.prune({name: self.sign * weight.detach() for name, weight in session.weights.items()})
        session.train()
'''
HOOK = """

@hookimpl
def register_pruners(register):
    register("signed", Signed)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a plugin of one file and a suite that names it; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signed.py").write_text(SIGNED + HOOK)
    write_suite(tmp_path / "mine.toml", pruner("signed") + pruner("random"), duration="3it", sparsities=[0.5])
    return tmp_path


@pytest.fixture
def run(folder, command):
    """`lth-bench run mine.toml` with more arguments."""
    return lambda *more: command("run", "mine.toml", "--workers", 1, "--device", "cpu", "--no-report", *more)


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def by_pruner(folder):
    return {record["experiment"]["pruner"]["name"]: record for record in read_documents(folder / "runs" / "mine")}


def test_a_method_of_one_file_runs_and_its_directory_needs_the_file_no_more(run, folder, command):
    done = run("--plugin", "signed.py")
    assert done.returncode == 0, done.stderr
    assert (folder / "runs/mine/plugins/signed.py").read_text() == SIGNED + HOOK
    record = by_pruner(folder)["signed"]
    assert record["status"] == "done"
    about = record["environment"]["plugins"]["pruner"]
    assert (about["plugin"], about["distribution"]) == ("signed", "signed.py") and len(about["sha256"]) == 64
    assert set(record["environment"]["code"]) == {"pruner", "model", "dataset"}
    (folder / "signed.py").unlink()
    edit(folder / "mine.toml", "seeds = [0]", "seeds = [0, 1]")
    again = run()
    assert again.returncode == 0, again.stderr
    assert "2 of 4 experiments to run" in again.stdout
    shutil.rmtree(folder / "runs/mine/plugins")
    for reading in ("leaderboard", "status", "report"):
        assert command(reading, "runs/mine").returncode == 0
    assert run().returncode == 2


def test_results_never_run_the_files_of_a_run_directory(run, folder, command):
    assert run("--plugin", "signed.py").returncode == 0
    (folder / "runs/mine/plugins/trap.py").write_text("from pathlib import Path\nPath('sprung').touch()")
    for reading in ("leaderboard", "status", "report", "claims", "table"):
        command(reading, "runs/mine")
    command("plan", "mine.toml", "--plugin", "signed.py")
    assert not (folder / "sprung").exists()
    assert "'trap' of trap.py could not be loaded" in run().stderr and (folder / "sprung").exists()


def test_a_changed_file_is_noticed_as_any_changed_code(run, folder):
    assert run("--plugin", "signed.py").returncode == 0
    first = by_pruner(folder)["signed"]
    edit(folder / "signed.py", "most positive", "largest")
    assert run("--plugin", "signed.py").returncode == 0
    edit(folder / "signed.py", "sign: int = 1", "sign: int = -1")
    refused = run("--plugin", "signed.py")
    assert refused.returncode == 2
    assert "the code of the pruner 'signed' has changed since 1 record in" in refused.stderr
    assert run().returncode == 0, "the copy is as it was"
    redone = run("--plugin", "signed.py", "--redo", "pruner == 'signed'")
    assert redone.returncode == 0, redone.stderr
    second = by_pruner(folder)["signed"]
    assert second["environment"]["code"]["pruner"] != first["environment"]["code"]["pruner"]
    assert (folder / "runs/mine/plugins/signed.py").read_text() == (folder / "signed.py").read_text()


def test_a_package_of_the_file_has_the_same_fingerprint(folder, monkeypatch):
    from lth_bench.running.plugin_files import load_file

    plugins = load_plugins()
    load_file(folder / "signed.py", plugins)
    alone = Code(plugins).hash("pruner", Choice("signed"))
    about = folder / "signed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: signed\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lth_bench]\nsigned = signed\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    installed = load_plugins()
    assert installed.pruners.providers["signed"].distribution == "signed"
    assert Code(installed).hash("pruner", Choice("signed")) == alone
    del sys.modules["signed"]


def test_a_file_that_is_loaded_again_in_one_process_is_read_again(folder):
    from lth_bench.running.plugin_files import load_file

    hashes = []
    for sign in (1, 2):
        (folder / "signed.py").write_text((SIGNED + HOOK).replace("sign: int = 1", f"sign: int = {sign}"))
        plugins = load_plugins()
        load_file(folder / "signed.py", plugins)
        assert plugins.pruners["signed"]().sign == sign
        hashes.append(Code(plugins).hash("pruner", Choice("signed")))
    assert hashes[0] != hashes[1]
    forget_hashes()


def test_a_file_that_workers_cannot_load_is_refused_before_anything_runs(run, folder, monkeypatch):
    (folder / "beside.py").write_text("SIGN = 1\n")
    edit(folder / "signed.py", "from dataclasses", "from beside import SIGN\nfrom dataclasses")
    monkeypatch.syspath_prepend(folder)
    refused = run("--plugin", "signed.py")
    assert refused.returncode == 2
    assert "a plugin of one file may import what is installed, and no file beside it" in refused.stderr
    assert not (folder / "runs/mine/plan.json").exists()
    del sys.modules["beside"]


SENTENCES = {
    "absent.py": (None, "there is no plugin file absent.py"),
    "signed.toml": ("", "is no Python file, whose name ends in .py"),
    "my-method.py": (SIGNED + HOOK, "has no name of a Python module, such as my_method.py; rename it"),
    "crooked.py": ("def f(:\n", "could not be loaded: SyntaxError: invalid syntax (crooked.py, line 1)"),
    "lost.py": ("import nowhere_at_all\n", "No module named 'nowhere_at_all'; a plugin of one file may import what is"),
    "leaving.py": ("raise SystemExit(0)\n", "could not be loaded: SystemExit: 0"),
    "plain.py": (SIGNED, '@hookimpl\ndef register_pruners(register): register("plain", Signed)'),
    "bare.py": (SIGNED + HOOK.replace("@hookimpl\n", ""), "write @hookimpl, from lth_bench, above register_pruners()"),
    "taken.py": (SIGNED + HOOK.replace('"signed"', '"imp"'), "pruner 'imp' is already registered by lth-bench"),
    "unknown.py": (SIGNED + HOOK.replace("pruners", "prunes"), "register_prunes"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_an_unusable_file_gets_a_sentence(name, folder, command):
    text, sentence = SENTENCES[name]
    if text is not None:
        (folder / name).write_text(text)
    for arguments in (["run", "mine.toml"], ["plan", "mine.toml"]):
        done = command(*arguments, "--plugin", name)
        assert done.returncode == 2 and sentence in done.stderr and name in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()


def test_two_files_of_one_name_are_refused(folder, command):
    (folder / "other").mkdir()
    shutil.copy(folder / "signed.py", folder / "other")
    done = command("plan", "mine.toml", "--plugin", "signed.py", "--plugin", "other/signed.py")
    assert done.returncode == 2 and "another plugin file is called signed.py as other/signed.py is" in done.stderr


def test_a_file_is_held_to_the_contract(folder, command):
    done = command("plugin", "check", "./signed.py", "--sparsity", 0.5)
    assert done.returncode == 0 and "signed: everything holds" in done.stdout, done.stdout + done.stderr
    (folder / "recipe.py").write_text(
        textwrap.dedent(
            """
            from lth_bench import Duration, Recipe, hookimpl

            @hookimpl
            def register_recipes(register):
                register("short", Recipe(Duration("5it"), 64, 0.1))
            """
        )
    )
    none = command("plugin", "check", "recipe.py")
    assert none.returncode == 2 and "registers no pruner" in none.stderr


def test_lists_and_plans_know_a_file(folder, command):
    assert "signed.py" in command("list", "pruners", "--plugin", "signed.py").stdout
    assert "2 experiments" in command("plan", "mine.toml", "--plugin", "signed.py").stdout
    assert "no pruner 'signed'" in command("plan", "mine.toml").stderr


def test_a_model_of_a_file_that_is_loaded_again_takes_the_place_of_the_one_before(tmp_path):
    from lth_bench.models.timm_models import check_name, make_model, register_models
    from lth_bench.running.plugin_files import load_file

    for width in (3, 5):
        (tmp_path / "narrow.py").write_text(
            textwrap.dedent(
                f"""
                from lth_bench import hookimpl
                from torch import nn

                def narrow(pretrained=False, in_chans=1, num_classes=10, img_size=(8, 8), **others):
                    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.Linear({width}, num_classes))

                @hookimpl
                def register_models(register):
                    register("narrow_of_a_file", narrow)
                """
            )
        )
        plugins = load_plugins()
        load_file(tmp_path / "narrow.py", plugins)
        register_models(plugins.models.items)
        check_name("narrow_of_a_file", plugins.models)
        assert make_model("narrow_of_a_file", {}, (1, 8, 8), 10)[1].out_features == width
