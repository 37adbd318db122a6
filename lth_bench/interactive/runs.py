"""Runs of suites from scripts and notebooks, by the function behind `lth-bench run`."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from lth_bench.cli import terminal
from lth_bench.cli.arguments import Device
from lth_bench.cli.run import run as run_command
from lth_bench.cli.selection import default_directory, installed_plugins, select
from lth_bench.errors import SuiteError
from lth_bench.interactive.reading import Place, data_folder
from lth_bench.storage.record import Record
from lth_bench.storage.records import read_record, record_path

INTERRUPTED = 128  # and more: the exit status of a run that a signal has ended


def run(
    suite: Place | Mapping[str, Any],
    out: Place | None = None,
    *,
    workers: int | None = None,
    data: Place | None = None,
    device: str = "auto",
    only: str | None = None,
    redo: str | None = None,
    mix_code: bool = False,
    download: bool = False,
    plugins: Sequence[Place] = (),
) -> list[Record]:
    """Runs the missing experiments of a suite and returns the records of all of them, in the order of the plan.

    `suite` is the name of a suite, the path of its file, or its content as a dict. `out` is the run directory, by
    default runs/NAME, and `plugins` are files as `--plugin` takes them; the other options are those of `lth-bench run`.
    Experiments run in worker processes, which need no `if __name__ == "__main__"`; tqdm shows how many have ended. One
    that fails has a record with its error. Raises SuiteError with a sentence for every fault, FileFault, DataError, and
    KeyboardInterrupt when it was stopped, after which the same call goes on.
    """
    with _named(suite) as name, terminal.silence():
        files, folder = [Path(file) for file in plugins], data_folder(data)
        directory = default_directory(name) if out is None else Path(out)
        options = {"only": only, "data": folder, "redo": redo, "directory": directory, "plugin": files}
        more = {"workers": workers, "device": _device(device), "mix_code": mix_code, "download": download}
        code, faults = _ended(name, {**options, **more, "no_report": True})
        if faults:
            place = f"{name}: " if isinstance(suite, Mapping) else ""
            raise SuiteError([fault.removeprefix(place) for fault in faults])
        if code >= INTERRUPTED:
            raise KeyboardInterrupt
        chosen = select(name, only, installed_plugins(files, directory), folder).chosen
    return [read_record(record_path(directory, item.experiment.key)) for item in chosen]


def _ended(name: str, options: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit status of the command, and why it refused."""
    try:
        run_command(name, **options)
    except terminal.Refused as refused:
        return 2, refused.faults
    except (SystemExit, typer.Exit) as end:
        return (end.exit_code if isinstance(end, typer.Exit) else int(end.code or 0)), []
    return 0, []


def _device(name: str) -> Device:
    if name not in list(Device):
        raise SuiteError([f"no device {name!r}; known: {', '.join(Device)}"])
    return Device(name)


@contextmanager
def _named(suite: Place | Mapping[str, Any]) -> Iterator[str]:
    """The name or path of a suite; inside, the content of a dict is a file, named after its title."""
    if not isinstance(suite, Mapping):
        yield str(suite)
        return
    stem = re.sub(r"[^a-z0-9]+", "-", str(suite.get("title", "")).lower()).strip("-") or "suite"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{stem}.toml")
        path.write_text("".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in suite.items()), "utf-8")
        yield str(path)


def _toml(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    raise SuiteError([f"a suite holds texts, numbers, truth values, lists and dicts, not {value!r}"])
