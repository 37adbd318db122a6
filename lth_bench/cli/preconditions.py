"""What must hold before `lth-bench run` starts; where it does not, the program ends with a sentence and status 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lth_bench.cli.terminal import out, refuse

if TYPE_CHECKING:
    from lth_bench.experiments.experiment import Planned
    from lth_bench.experiments.plugins import Plugins
    from lth_bench.running.code import Code
    from lth_bench.running.limits import Limits
    from lth_bench.running.sweep import Sweep
    from lth_bench.storage.record import Identity

LONGEST_SUITE = 200  # bytes of a suite's name; a file name has 255, of which writing takes some


def read_limits(time: str | None, memory: str | None, stall: str) -> Limits:
    """Reads the limits of experiments as options state them; ends the program if one cannot be read."""
    from lth_bench.running.limits import Limits, seconds, size

    try:
        return Limits(
            time=None if time is None else seconds(time),
            memory=None if memory is None else size(memory),
            stall=seconds(stall),
        )
    except ValueError as error:
        refuse([f"a limit cannot be read: {error}"])


def planned_before(directory: Path) -> list[Identity]:
    """The experiments of a run directory's plan; none if it is damaged."""
    from lth_bench.errors import Damaged
    from lth_bench.storage.records import read_plan

    try:
        return read_plan(directory)
    except Damaged:  # set aside when the plan is written again
        return []


def refuse_changed(directory: Path, known: Iterable[Identity], using: list[Identity], code: Code) -> None:
    """Ends the program if the code that experiments are `using` is not that of the records of `known` ones."""
    from lth_bench.running.code import changes

    if faults := changes(directory, {item.key: item for item in known}.values(), using, code):
        refuse(faults)


def refuse_places(sweep: Sweep, suite: str) -> None:
    """Ends the program if nothing can be written into a run directory or its store."""
    folders = [sweep.directory, *([sweep.store] if sweep.store else [])]
    if faults := list(_place_faults(folders, suite)):
        refuse(faults)


def _place_faults(folders: list[Path], suite: str) -> Iterator[str]:
    """Why nothing can be written into a run directory and its store, so far as a try tells."""
    from lth_bench.errors import DiskFault
    from lth_bench.storage.files import try_to_write

    ways = dict.fromkeys(path for folder in folders for path in (folder, *folder.parents))
    dangling = [path for path in ways if path.is_symlink() and not path.exists()]
    yield from (
        f"{path} is a link to {path.readlink()}, which is not there; make that folder, or give another --out"
        for path in dangling
    )
    if dangling:
        return
    try:
        for folder in folders:
            try_to_write(folder)
    except DiskFault as fault:
        yield str(fault)
    if (length := len(suite.encode())) > LONGEST_SUITE:
        yield f"the name of the suite has {length} bytes, at most {LONGEST_SUITE} fit a file name; rename its file"


def download_checkpoints(suite: str, plugins: Plugins, root: Path | None) -> None:
    """Fetches timm's checkpoints that a suite's models start from into its cache, where that lacks them."""
    from lth_bench.errors import SuiteError
    from lth_bench.experiments.checkpoints import fetch, is_absent
    from lth_bench.experiments.plan import read_suite

    try:
        models = read_suite(suite, plugins, root)[1].models
        for name in dict.fromkeys(model.name for model in models if model.pretrained):
            if is_absent(name):
                out.print(f"fetching the checkpoint of {name} into timm's cache", markup=False, soft_wrap=True)
                fetch(name)
    except SuiteError as error:
        refuse(error.faults)
    except ValueError as error:
        refuse([str(error)])


def download_absent(plugins: Plugins, planned: list[Planned], root: Path | None) -> None:
    """Fetches the absent data sets of these experiments, where a plugin knows how."""
    from lth_bench.running.context import dataset_named

    for entry in {str(item.experiment.dataset): item.experiment.dataset for item in planned}.values():
        fetch = dataset_named(plugins.datasets, entry).download
        if fetch is not None:
            if root is None:
                refuse(["--download needs a folder: give --data DIR or LTH_BENCH_DATA"])
            out.print(f"fetching {entry.name} into {root}/", markup=False, soft_wrap=True)
            fetch(root)
