"""Runs one experiment and makes its record."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
import os
import platform
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lth_bench.data import Examples, examples, held_out
from lth_bench.experiment import Choice, Experiment, from_json
from lth_bench.files import FileFault
from lth_bench.masks import kept
from lth_bench.models import evaluate, make_model, register_models
from lth_bench.monitor import Best, Measurement, State
from lth_bench.plugins import Plugins, Registry
from lth_bench.records import read_record, record_path, ticket_path
from lth_bench.session import Diverged, Session, Setup
from lth_bench.suite import instantiate
from lth_bench.tickets import Ticket, read_ticket, write_ticket

CURVE = ("step", "kept", "training_loss", "validation_loss", "validation_accuracy")


class InvalidResult(Exception):
    """What a pruner left behind is not a network under its masks."""


@dataclass
class Site:
    """Where experiments run: the plugins, the data root and the device. Splits that were read are kept."""

    plugins: Plugins
    data_root: Path | None
    device: torch.device
    _splits: dict[str, tuple[Examples, Examples]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        register_models(self.plugins.models.items)

    def training(self, dataset: str) -> tuple[Examples, Examples]:
        """What is trained on, and the validation split."""
        if dataset not in self._splits:
            self._splits[dataset] = held_out(self._read(dataset, "train"), self.plugins.datasets[dataset].validation)
        return self._splits[dataset]

    def test(self, dataset: str) -> Examples:
        return self._read(dataset, "test")

    def network(self, experiment: Experiment, seed: int) -> nn.Module:
        """The experiment's network, with initial weights drawn from this seed."""
        model, dataset = experiment.model, experiment.dataset.name
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = make_model(
                model.name, model.arguments, self.training(dataset)[0], self.plugins.datasets[dataset].classes
            )
        return made.to(self.device)

    def session(self, experiment: Experiment) -> Session:
        """A fresh Session for an experiment."""
        training, validation = self.training(experiment.dataset.name)
        return Session(
            Setup(
                network=lambda seed: self.network(experiment, seed),
                training=training,
                validation=validation,
                recipe=experiment.recipe,
                sparsity=experiment.sparsity,
                seed=experiment.seed,
            )
        )

    def _read(self, name: str, split: Any) -> Examples:
        dataset = self.plugins.datasets[name]
        return examples(dataset, dataset.read(split, self.data_root), self.device)


def run(identity: dict[str, Any], directory: Path, site: Site) -> dict[str, Any]:
    """Runs the experiment that `identity` describes and returns its record, whatever happens; not yet written."""
    experiment = from_json(identity["experiment"])
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        outcome = {"status": "done", **_result(experiment, directory, site)}
    except Diverged as error:
        outcome = {
            "status": "diverged",
            "error": {"kind": "diverged", "message": str(error), "step": error.step},
        }
    except Exception as error:
        outcome = {"status": "failed", "error": _error(error)}
    return {
        **identity,
        **outcome,
        "environment": _environment(experiment, site),
        "timing": {"started": started.isoformat(timespec="seconds"), "seconds": time.perf_counter() - clock},
    }


def _result(experiment: Experiment, directory: Path, site: Site) -> dict[str, Any]:
    session = site.session(experiment)
    pruner = _instance(site.plugins.pruners, experiment.pruner)
    if experiment.control is None:
        pruner(session)
    else:
        control = _instance(site.plugins.controls, experiment.control)
        control(session, _base_ticket(experiment, directory))
    session.finish()
    ticket = _ticket(session)
    return {
        "sparsity": _sparsity(experiment, ticket),
        "test": _test(experiment, session, site),
        "curve": _curve(session.monitor.curve),
        "events": [dataclasses.asdict(event) for event in session.ledger.events],
        "ticket": {
            "step": ticket.step,
            "sha256": write_ticket(ticket_path(directory, experiment.key), ticket),
        },
    }


def _instance(registry: Registry, entry: Choice) -> Any:
    return instantiate(registry, entry.name, entry.arguments)


def _base_ticket(experiment: Experiment, directory: Path) -> Ticket:
    assert experiment.base is not None
    key = experiment.base.key
    path = record_path(directory, key)
    if not path.exists():
        raise FileFault(f"the control needs the ticket of experiment {key}, which has no record in {directory}")
    record = read_record(path)
    if record["status"] != "done":
        raise FileFault(f"the control needs the ticket of experiment {key}, which {record['status']}")
    return read_ticket(ticket_path(directory, key), record["ticket"]["sha256"])


def _ticket(session: Session) -> Ticket:
    assert session.ticket is not None
    return Ticket(session.ticket.step, session.ticket.state, session.masks, session.snapshot().state)


def _sparsity(experiment: Experiment, ticket: Ticket) -> dict[str, Any]:
    """Counts what is left in the final state: non-zeros under the masks."""
    layers = {}
    for name, mask in ticket.masks.items():
        weight = ticket.final[name]
        if outside := int(weight[~mask].count_nonzero()):
            raise InvalidResult(f"{outside} weights of layer {name!r} are not zero although they are pruned")
        layers[name] = {
            "size": mask.numel(),
            "mask": int(mask.count_nonzero()),
            "kept": int(weight.count_nonzero()),
        }
    size, left = (sum(layer[field] for layer in layers.values()) for field in ("size", "kept"))
    return {
        "asked": experiment.sparsity,
        "measured": 1 - left / size,
        "prunable": size,
        "kept": left,
        "mask": sum(kept(ticket.masks).values()),
        "layers": layers,
        "collapsed": [name for name, layer in layers.items() if not layer["kept"]],
    }


def _test(experiment: Experiment, session: Session, site: Site) -> dict[str, Any]:
    """Evaluates on the test split, read only now, in a network of the dense architecture built anew."""
    test, network = site.test(experiment.dataset.name), site.network(experiment, 0)
    last_measured = session.monitor.curve[-1].step if session.monitor.curve else None

    def measured(state: State) -> dict[str, float]:
        network.load_state_dict(state)
        loss, accuracy = evaluate(network, test)
        if not math.isfinite(loss):
            raise Diverged(session.step, f"a test loss of {loss}")
        return {"loss": loss, "accuracy": accuracy}

    def at(best: Best | None) -> dict[str, Any] | None:
        if best is None:
            return None
        step = best.measurement.step
        return {"step": step, "censored": step == last_measured, **measured(best.state)}

    return {
        "last": {"step": session.step, **measured(session.snapshot().state)},
        "best_validation": at(session.monitor.accurate),
        "early_stop": at(session.monitor.early_stop),
    }


def _curve(curve: list[Measurement]) -> dict[str, list[float | None]]:
    """The curve in columns, losses and accuracies to six digits."""
    points = [dataclasses.asdict(point) for point in curve]
    return {name: [_six_digits(point[name]) for point in points] for name in CURVE}


def _six_digits(value: float | None) -> float | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _error(error: Exception) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _environment(experiment: Experiment, site: Site) -> dict[str, Any]:
    chosen: Mapping[str, tuple[Registry, str]] = {"pruner": (site.plugins.pruners, experiment.pruner.name)}
    if experiment.control:
        chosen = {**chosen, "control": (site.plugins.controls, experiment.control.name)}
    gpu = torch.cuda.get_device_name(site.device) if site.device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in ("lth-bench", "torch", "timm", "numpy")},
        "system": f"{platform.system()} {platform.machine()}",
        "device": gpu or site.device.type,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "plugins": {kind: _plugin(*entry) for kind, entry in chosen.items()},
    }


def _plugin(registry: Registry, name: str) -> dict[str, str]:
    source = registry.sources[name]
    file = inspect.getsourcefile(registry[name])
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"
    return {**dataclasses.asdict(source), "sha256": digest}
