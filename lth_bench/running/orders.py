"""What a run leaves in its directory for processes that join it: which experiments are to be done, and how."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct, structs

from lth_bench.errors import Damaged, FileFault
from lth_bench.experiments.experiment import Choice
from lth_bench.hashing import canonical
from lth_bench.running.code import Fingerprint
from lth_bench.running.messages import Settings
from lth_bench.running.processes import ForkServer
from lth_bench.running.standing import standing
from lth_bench.running.sweep import Sweep
from lth_bench.storage.files import locked, move, set_aside
from lth_bench.storage.record import SCHEMA, Identity, builtins, decoder
from lth_bench.storage.records import decoded, read_plan, record_path
from lth_bench.storage.sealed import publish_json

PACKAGES = ("lth-bench", "torch", "timm", "numpy")


class Order(Struct, frozen=True):
    """The keys of experiments to be done, the settings of whoever does them, the versions that it needs, and observers.

    Paths in the settings are absolute, but for those inside the run directory, which are relative to it.
    """

    schema: int
    keys: list[str]
    settings: Settings
    versions: dict[str, str]
    observers: list[Choice] = []


def order_path(directory: Path) -> Path:
    return directory / "work.json"


def versions() -> dict[str, str]:
    """The versions on which results depend, here."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{package: version(package) for package in PACKAGES}}


def write_order(sweep: Sweep, todo: Iterable[Identity]) -> None:
    """Orders experiments, beside those ordered before that have no record yet. Raises DiskFault."""
    directory, ordered = sweep.directory, [item.key for item in todo]
    with locked(directory / ".lock"):
        settings, earlier = _portable(sweep.settings(), directory), _earlier(directory)
        if earlier:
            pending = [key for key in earlier.keys if not record_path(directory, key).exists()]
            ordered = list(dict.fromkeys([*pending, *ordered]))
            settings = structs.replace(
                settings,
                code=_latest([*earlier.settings.code, *settings.code]),
                weights={**earlier.settings.weights, **settings.weights},
            )
        order = Order(SCHEMA, ordered, settings, versions(), list(sweep.observers))
        if order != earlier:
            publish_json(order_path(directory), builtins(order))


def read_order(directory: Path) -> Order:
    """The order of a run directory. Raises FileFault if it has none, or one that cannot be read."""
    if not directory.is_dir():
        raise FileFault(f"there is no run directory {directory} on this machine; give the path that leads to it here")
    if not order_path(directory).exists():
        raise FileFault(f"{directory} has no {order_path(directory).name}: run its suite with --out {directory} first")
    return decoded(order_path(directory), _ORDER, "work order")


def differences(order: Order) -> list[str]:
    """What is installed here in another version than where the work was ordered, one sentence each."""
    here = versions()
    return [
        f"{name} is {here[name]} here and {wanted} where the run was started; install {name} {wanted} here"
        for name, wanted in order.versions.items()
        if here.get(name) != wanted
    ]


def todo(directory: Path, order: Order) -> list[Identity]:
    """The ordered experiments without a record, as the plan tells them."""
    keys = {key for key in order.keys if not record_path(directory, key).exists()}
    return [item for item in read_plan(directory) if item.key in keys]


def joining(
    directory: Path,
    order: Order,
    server: ForkServer,
    data: Path | None = None,
    device: str | None = None,
    store: Path | None = None,
) -> Sweep:
    """How to work on an order, as its run did but for what is given here."""
    settings = order.settings
    shared = None if settings.store is None else directory / settings.store
    return Sweep(
        directory=directory,
        data_root=data or (Path(settings.data) if settings.data else None),
        device=device or settings.device,
        store=store or shared,
        limits=settings.limits,
        loaders=settings.loaders,
        code=settings.code,
        weights={digest: directory / path for digest, path in settings.weights.items()},
        observers=tuple(order.observers),
        server=server,
        plugins=directory / settings.plugins,
    )


def put_failed_aside(directory: Path, todo: Sequence[Identity]) -> None:
    """Moves the records of experiments that failed into failures/: whoever joins takes those without a record.

    One that another process has finished by now stays.
    """
    for item in todo:
        path = record_path(directory, item.key)
        if standing(directory, item.key).state == "failed":
            move(path, directory / "failures" / f"{item.key}.{path.stat().st_mtime_ns}.json")


def _earlier(directory: Path) -> Order | None:
    """The order that a directory has; a damaged one is set aside."""
    path = order_path(directory)
    try:
        return decoded(path, _ORDER, "work order") if path.exists() else None
    except Damaged:
        set_aside(path, directory / "damaged")
        return None


def _portable(settings: Settings, directory: Path) -> Settings:
    """Settings whose paths hold from any folder, and inside the run directory wherever that is."""
    here = directory.resolve()

    def portable(path: str) -> str:
        absolute = Path(path).resolve()
        return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)

    return structs.replace(
        settings,
        directory="",
        data=None if settings.data is None else str(Path(settings.data).resolve()),
        store=None if settings.store is None else portable(settings.store),
        plugins=portable(settings.plugins),
        weights={digest: portable(path) for digest, path in settings.weights.items()},
    )


def _latest(code: Iterable[Fingerprint]) -> list[Fingerprint]:
    """One fingerprint of each choice, the last."""
    return list({(one.kind, canonical(builtins(one.choice))): one for one in code}.values())


_ORDER = decoder(Order)
