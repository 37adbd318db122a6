"""The command as users run it, with a third-party package installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from msgspec import structs

from lth_bench.errors import Damaged
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.pruning.tickets import read_ticket, write_ticket
from lth_bench.running.context import Context
from lth_bench.running.run import run
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_record
from support.disks import mounted
from support.documents import read_documents
from support.fresh import fresh
from support.places import COMMAND
from support.suites import faults, finish

SUITE = """
title = "tiny"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.9]
recipe = "r"

[recipes.r]
duration = "20it"
batch_size = 50
learning_rate = 0.1
measure_every = "5it"
"""
GOOD = """
[[pruners]]
name = "dense"
sparsities = [0]

[[pruners]]
name = "imp"
arguments = { rate = 0.7 }
controls = ["redraw"]
"""


def call(*arguments, path="", folder=None, **environment):
    """Runs the command in a folder; `path` is put before the packages that are found."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200", **environment},
    )


def suite(tmp_path, *pruners, text=SUITE):
    path = tmp_path / "tiny.toml"
    path.write_text(text + "".join(f'[[pruners]]\nname = "{name}"\n' for name in pruners if "\n" not in name))
    path.write_text(path.read_text() + "".join(part for part in pruners if "\n" in part))
    return path


def test_a_third_party_plugin_is_listed_and_a_broken_one_hides_no_other(third_party):
    done = call("list", "pruners", path=third_party)
    assert done.returncode == 0
    assert re.search(r"positive +thirdparty-pruners 1\.2\.3 +Keep the weights that are largest", done.stdout)
    assert re.search(r"imp +lth-bench", done.stdout)
    assert "'broken' of thirdparty-pruners could not be loaded: ModuleNotFoundError" in done.stderr
    assert "'ahead' of thirdparty-pruners could not be loaded: PluginValidationError" in done.stderr
    assert "'function' of thirdparty-pruners could not be loaded: ValueError: pruner 'second' must be a" in done.stderr
    assert not re.search(r"^ {0,2}(ahead|first) ", done.stdout, re.M), "a plugin is there whole or not at all"
    assert "'greedy' of thirdparty-pruners could not be loaded: ValueError: pruner 'imp' is already" in done.stderr


def number_of(text, folder):
    """The number of the first line with this text in the misbehaving pruners."""
    lines = (folder / "thirdparty" / "faulty.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_fault_costs_its_own_experiment_only(third_party, tmp_path):
    path = suite(tmp_path, "raiser", "positive", "nanwriter", GOOD)
    out = tmp_path / "out"
    done = call("run", path, "--out", out, "--workers", 1, path=third_party)
    assert done.returncode == 1, done.stderr
    records = {record["label"]: record for record in read_documents(out)}
    assert {label: record["status"] for label, record in records.items()} == {
        "dense": "done",
        "IMP (rate=0.7)": "done",
        "IMP (rate=0.7), redraw": "done",
        "nanwriter": "diverged",
        "positive": "done",
        "raiser": "failed",
    }
    raiser = records["raiser"]["error"]
    assert raiser["message"] == "this method | has a <bug>"
    assert 'raise RuntimeError("this method | has a <bug>")' in raiser["traceback"]
    assert raiser["place"] == f"thirdparty/faulty.py:{number_of('raise RuntimeError(', third_party)}"
    assert f"seed 0: RuntimeError at {raiser['place']}: this method | has a <bug>; see " in done.stderr
    assert f"RuntimeError at {raiser['place']}: this method" in (out / "report" / "report.html").read_text()
    assert f"plugin_error: RuntimeError at {raiser['place']}" in call("status", out, path=third_party).stdout
    assert records["nanwriter"]["error"]["step"] in (5, 10)
    assert records["positive"]["environment"]["plugins"]["pruner"]["distribution"] == "thirdparty-pruners"
    assert "1 failed" in done.stdout and "1 diverged" in done.stdout
    assert done.stderr.count("failed: ") == 1 and done.stderr.count("diverged: ") == 1
    assert "about to raise" not in done.stdout
    assert sum("about to raise" in log.read_text() for log in (out / "logs").iterdir()) == 1

    before = {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    again = call("run", path, "--out", out, "--only", "label != 'nanwriter'", "--no-report", path=third_party)
    assert again.returncode == 1
    assert "1 of 5 experiments to run" in again.stdout, "only what failed is tried again"
    after = {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    assert sum(before[name] != after[name] for name in before) == 1


def test_what_lies_in_the_folder_of_a_command_is_not_imported(tmp_path):
    for name in ("queue", "random", "torch", "lth_bench"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    text = SUITE + '[[pruners]]\nname = "dense"\nsparsities = [0]\n'
    done = call("run", suite(tmp_path, text=text), "--out", tmp_path / "out", "--no-report", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_finished_directory_is_only_read_and_needs_no_torch(tmp_path, command):
    path, out = suite(tmp_path, GOOD), tmp_path / "out"
    finish(path, out)
    before = {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    script = (
        "import sys; from lth_bench.cli.main import app; "
        f"app(['run', {str(path)!r}, '--out', {str(out)!r}], standalone_mode=False); "
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all 3 experiments are already in" in done.stdout
    assert before == {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    for kind in ("md", "csv", "json", "tex"):
        printed = command("leaderboard", out, "--format", kind)
        assert printed.stdout == (out / f"leaderboard.{kind}").read_text()
    accuracy = {record["label"]: record["test"]["last"]["accuracy"] for record in read_documents(out)}
    board = json.loads((out / "leaderboard.json").read_text())
    assert {row["method"]: round(row["accuracy"], 4) for row in board} == {
        label: pytest.approx(100 * value) for label, value in accuracy.items()
    }
    assert "3 experiments, 3 of them done" in " ".join(command("plan", path, "--out", out).stdout.split())


def test_a_plan_names_everything_as_tables_do(tmp_path, command):
    path = suite(tmp_path, GOOD)
    path.write_text(
        path.read_text().replace('datasets = ["digits"]', 'datasets = [{ name = "digits", label = "Ziffern" }]')
    )
    shown = command("plan", path).stdout
    assert re.search(r"LeNet-300-100 +Ziffern +IMP \(rate=0.7\), redraw ", shown) and "lenet_300_100" not in shown
    path.write_text(path.read_text() + GOOD)
    twice = command("plan", path)
    assert "the same experiment is asked for twice: dense, LeNet-300-100 on Ziffern, sparsity 0.0" in twice.stderr


def test_a_plan_with_data_reads_them_and_says_what_is_absent(tmp_path, command):
    path = suite(tmp_path, "snip")
    done = command("plan", path, "--data", tmp_path)
    assert done.returncode == 0 and "digits: 1,197 for training, 200 for validation, 400 for test" in done.stdout
    assert "at least once" not in done.stdout
    path.write_text(path.read_text().replace('"digits"', '"mnist"'))
    absent = command("plan", path, "--data", tmp_path)
    assert absent.returncode == 2 and str(tmp_path) in absent.stderr
    assert command("plan", path).returncode == 0, "without --data nothing is read"


def test_an_experiment_twice_gives_the_same_record_but_for_timings(tmp_path):
    plugins = load_plugins()
    path = suite(tmp_path, "random", "magnitude", "snip", GOOD)
    name, content = read_suite(str(path), plugins)
    site = Context(plugins, None, torch.device("cpu"))
    for planned in plan(content, plugins):
        records = []
        for folder in ("one", "two"):
            record = run(identity(name, planned), tmp_path / folder, site)
            write_record(tmp_path / folder, record)
            records.append(structs.replace(record, timing=None))
        assert records[0].status == "done", records[0].error
        assert records[0] == records[1]


def test_a_ticket_is_read_back_and_damage_is_noticed(tmp_path):
    plugins = load_plugins()
    name, content = read_suite(str(suite(tmp_path, "snip")), plugins)
    site = Context(plugins, None, torch.device("cpu"))
    record = run(identity(name, plan(content, plugins)[0]), tmp_path, site)
    path = tmp_path / "tickets" / f"{record.key}.safetensors"
    ticket = read_ticket(path, record.ticket.sha256)
    assert {layer: int(mask.sum()) for layer, mask in ticket.masks.items()} == {
        layer: count.mask for layer, count in record.sparsity.layers.items()
    }
    assert write_ticket(tmp_path / "again", ticket) == record.ticket.sha256
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match="is damaged"):
        read_ticket(path, record.ticket.sha256)


TAKEN = """
from lth_bench import hookimpl

def make(**arguments):
    raise RuntimeError("nobody asked for this model")

@hookimpl
def register_models(register):
    register("resnet18", make)
"""


def test_a_plugin_that_takes_a_name_of_timm_stops_its_own_model_only(tmp_path):
    site = tmp_path / "site"
    about = site / "taken_name-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: taken-name\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lth_bench]\ntaken = taken_name\n")
    (site / "taken_name.py").write_text(TAKEN)
    path = suite(tmp_path, "random")
    assert fresh(faults, path, site) == []
    path.write_text(path.read_text().replace("lenet_300_100", "resnet18"))
    (fault,) = fresh(faults, path, site)
    assert "taken-name registers the model 'resnet18', a name that timm gives to another model; rename it" in fault


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["run", "quickstar"],
            ["no suite 'quickstar'; did you mean 'quickstart'? known: cifar10-resnet20-lite, dst-mnist"],
        ),
        (["run", "quickstart", "--only", "colour == 1"], ["--only 'colour == 1'", "columns: dataset, model"]),
        (["run", "quickstart", "--only", "seed > 99"], ["leaves none of the 126 experiments"]),
        (["run", "lenet-mnist-lite", "--data", "/nowhere"], ["looked for /nowhere/MNIST/raw/train-images-idx3-ubyte"]),
        (["run", "quickstart", "--device", "tpu"], ["tpu"]),
        (["run", "quickstart", "--workers", "0"], ["--workers"]),
        (["run", "quickstart", "--out", "/dev/null"], ["/dev/null"]),
        (["leaderboard", "/nowhere"], ["no records in /nowhere"]),
        (["report", "/nowhere"], ["no records in /nowhere"]),
        (["list", "colours"], ["colours"]),
    ],
)
def test_unusable_input_ends_with_status_2_and_a_sentence(tmp_path, arguments, words, command):
    out = ["--out", tmp_path / "out"] if arguments[0] == "run" and "--out" not in arguments else []
    done = command(*arguments, *out)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not (tmp_path / "out").exists(), "nothing may be started"


def test_faults_of_models_data_and_targets_are_found_before_anything_starts(tmp_path):
    text = (
        SUITE.replace('["lenet_300_100"]', '["lenet_300_100", "resnt18", {name = "resnet18", arguments = {depth = 3}}]')
        .replace(
            '"resnt18"',
            '"resnt18", "vit_tiny_patch16_224", "nfnet_l0", {name = "resnet18", arguments = {act_layer = "zzz"}}',
        )
        .replace('["digits"]', '["digits", "mnist"]')
        .replace("[0.9]", "[0.9, 0.999995]")
        .replace("50", "1500")
    )
    done = call("run", suite(tmp_path, "snip", text=text), "--out", tmp_path / "out", LTH_BENCH_DATA="")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert len(done.stderr.splitlines()) == 8, done.stderr
    for word in (
        "MNIST needs a data root",
        "timm knows no model 'resnt18'",
        "timm cannot make 'resnet18' from {'depth': 3}",
        "timm cannot make 'resnet18' from {'act_layer': 'zzz'}",
        "'vit_tiny_patch16_224' cannot take inputs of shape (1, 8, 8)",
        "'nfnet_l0' changes the weights of 57 layers in its forward pass, 'stem.conv1.weight' for one",
        "0.999995 would leave none of the 50,200 prunable weights of 'lenet_300_100'",
        "batch_size 1500 is more than the 1197 training examples of 'digits'",
    ):
        assert word in done.stderr, done.stderr


def test_a_plugin_that_imports_the_session_does_not_import_timm():
    code = "import sys; from lth_bench import Session; assert not {'timm', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_without_report_prints_the_leaderboard_and_writes_records_alone(tmp_path, command):
    path, out = suite(tmp_path, GOOD), tmp_path / "out"
    finish(path, out)
    bare = {path.name for path in out.iterdir()} | {"suites"}
    quiet = command("run", path, "--out", out, "--no-report")
    assert quiet.returncode == 0 and "dense" in quiet.stdout and "Written" not in quiet.stdout
    assert {path.name for path in out.iterdir()} == bare
    loud = command("run", path, "--out", out)
    assert loud.stdout.startswith(quiet.stdout) and (out / "report" / "report.html").exists()
    assert command("run", path, "--out", out, "--no-report").stdout == quiet.stdout


def test_a_damaged_plan_is_set_aside_and_made_again(tmp_path, command):
    path, out = suite(tmp_path, GOOD), tmp_path / "out"
    finish(path, out)
    plan = (out / "plan.json").read_bytes()
    (out / "plan.json").write_bytes(b"{")
    done = command("run", path, "--out", out, "--no-report")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "plan.json").read_bytes())["experiments"] == json.loads(plan)["experiments"]
    assert [path.read_bytes() for path in (out / "damaged").iterdir()] == [b"{"]


def test_a_label_of_the_suite_is_that_of_the_next_tables(tmp_path, command):
    path, out = suite(tmp_path, GOOD), tmp_path / "out"
    finish(path, out)
    text = path.read_text()
    assert 'name = "dense"' in text
    path.write_text(
        text.replace('name = "dense"', 'name = "dense"\nlabel = "whole"').replace(
            'models = ["lenet_300_100"]', 'models = [{ name = "lenet_300_100", label = "our net" }]'
        )
    )
    done = command("run", path, "--out", out, "--no-report")
    assert "experiments are already in" in done.stdout and "our net on" in done.stdout and " whole " in done.stdout


def test_help_version_and_lists_import_neither_torch_nor_timm_nor_a_tracker():
    lists = [["list", kind] for kind in ("pruners", "controls", "models", "datasets", "recipes", "suites", "observers")]
    script = (
        "import sys; from lth_bench.cli.main import app\n"
        f"for arguments in {[['--help'], ['--version'], *lists]}:\n"
        "    print(f'--- {arguments}')\n"
        "    try: app(arguments)\n"
        "    except SystemExit: pass\n"
        "    assert not {'torch', 'timm', 'tensorboard', 'mlflow', 'wandb'} & set(sys.modules), arguments\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("--- ")[1:]
    assert len(printed) == 9 and all(part.partition("\n")[2].strip() for part in printed)


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(command, tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    done = command("run", "quickstart", "--out", tmp_path / "dangling" / "run")
    assert done.returncode == 2 and "is a link to" in done.stderr and "nowhere, which is not there" in done.stderr
    long = suite(tmp_path, "random").rename(tmp_path / f"{'a' * 230}.toml")
    done = command("run", long, "--out", tmp_path / "out")
    assert done.returncode == 2 and "has 230 bytes, at most 200 fit a file name; rename its file" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_file_in_the_place_of_a_folder_is_told_before_anything_starts(command, tmp_path, option):
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        done = command("run", suite(tmp_path, "random"), "--out", tmp_path / "out", option, place)
        assert done.returncode == 2 and f"cannot write {place}: Not a directory" in " ".join(done.stderr.split())
    assert (tmp_path / "file").read_text() == "precious" and not (tmp_path / "out").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a file system takes root")
@pytest.mark.parametrize(("option", "words"), [("size=4k", "No space left"), ("ro", "Read-only file system")])
def test_a_place_without_room_or_permission_is_told_before_anything_starts(command, tmp_path, option, words):
    with mounted(tmp_path / "small", option):
        done = command("run", suite(tmp_path, "random"), "--out", tmp_path / "small" / "out")
        assert done.returncode == 2 and words in done.stderr and "cannot write" in done.stderr
        assert list((tmp_path / "small").iterdir()) == []


def test_a_folder_that_is_gone_is_told(tmp_path):
    (gone := tmp_path / "gone").mkdir()
    line = f"cd {gone} && rmdir {gone} && {COMMAND} list suites"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 2 and "the folder in which this command was started is gone" in done.stderr


def test_verify_reads_the_records_of_a_run_directory_too(command, tmp_path):
    finish(suite(tmp_path, "random"), tmp_path / "out")
    assert command("store", "verify", tmp_path / "out").returncode == 0
    (record, *_) = (tmp_path / "out" / "records").glob("*.json")
    record.write_text('{"x": 1}')
    done = command("store", "verify", tmp_path / "out")
    assert done.returncode == 1 and f"{record} is not a record of lth-bench" in " ".join(done.stdout.split())
    assert record.read_text() == '{"x": 1}'
