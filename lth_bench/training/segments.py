"""Segments of training on disk: the state and measurements at the end of training from one step to another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch
from torch import Tensor

from lth_bench.errors import Damaged, Diverged, FileFault
from lth_bench.storage.store import Store
from lth_bench.storage.tensors import State, read_tensors, serialized
from lth_bench.training.monitor import Best, Measurement, Monitor
from lth_bench.training.optimizers import make_optimizer
from lth_bench.training.state import Snapshot

if TYPE_CHECKING:
    from lth_bench.training.session import Session

Step = Annotated[int, msgspec.Meta(ge=0)]
STATES = {
    "sgd": {"momentum_buffer"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
}
"""The names of an optimiser's states of each parameter; without momentum, SGD has none."""


@dataclass(frozen=True)
class Segment:
    """The end of a segment, and the measurements on the way."""

    end: Snapshot
    measured: Monitor


class Segments:
    """The segments in a store, each under the hash of everything that decides it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def load(self, session: Session, key: str, folder: str = "entries") -> Segment | None:
        """The segment of a key, if it is complete and sound. Raises Diverged if the training diverged."""
        entry = self.store.read(key, folder)
        if entry is None:
            return None
        if entry["diverged"]:
            raise Diverged(entry["diverged"]["step"], entry["diverged"]["what"])
        if folder == "entries":
            self.store.used(key)
        if entry["parts"]:
            return self._chained(session, entry["parts"])
        objects: dict[str, State] = {}
        for digest in entry["objects"]:
            path = self.store.tensors(digest, key, folder)
            try:
                objects[digest] = read_tensors(path, digest)
            except Damaged:
                self.store.damaged(path)
                return None
            except FileFault:
                return None
        try:
            return self._segment(session, entry, objects)
        except (LookupError, TypeError, ValueError, AttributeError, msgspec.ValidationError):
            self.store.reject(key, folder)
            return None

    def _chained(self, session: Session, parts: list[str]) -> Segment | None:
        """The segment made of others, one after the other."""
        measured, last = Monitor(), None
        for part in parts:
            entry = self.store.read(part)
            last = None if entry is None or entry["parts"] else self.load(session, part)
            if last is None:
                return None
            measured.extend(last.measured, after=measured.curve[-1].step if measured.curve else 0)
        return last and Segment(last.end, measured)

    def _segment(self, session: Session, entry: dict[str, Any], objects: dict[str, State]) -> Segment:
        """The segment of an entry that fits the network. Raises ValueError and the like for another entry."""
        wanted = {name: (value.shape, value.dtype) for name, value in session.model.state_dict().items()}
        for digest in {entry["state"], *(best["state"] for best in (entry["accurate"], entry["early_stop"]) if best)}:
            if {name: (value.shape, value.dtype) for name, value in objects[digest].items()} != wanted:
                raise ValueError(f"object {digest} does not fit the network")
        measured = Monitor()
        measured.curve = msgspec.convert(entry["curve"], list[Measurement])
        measured.accurate, measured.early_stop = (
            best and Best(msgspec.convert(best["measurement"], Measurement), objects[best["state"]])
            for best in (entry["accurate"], entry["early_stop"])
        )
        optimizer = _optimizer_state(session, objects[entry["optimizer"]])
        end = msgspec.convert(entry["end"], Step)
        return Segment(Snapshot(end, objects[entry["state"]], optimizer), measured)

    def save(self, key: str, segment: Segment, start: int, folder: str = "entries") -> None:
        """Stores a segment that started at step `start`; `folder` is "checkpoints" for an unfinished one."""
        measured = segment.measured

        def write(state: State) -> str:
            return self.store.write_tensors(serialized(state), key, folder)

        bests = {
            name: best and {"measurement": asdict(best.measurement), "state": write(best.state)}
            for name, best in (("accurate", measured.accurate), ("early_stop", measured.early_stop))
        }
        assert segment.end.optimizer is not None
        state, optimizer = write(segment.end.state), write(flat(segment.end.optimizer))
        objects = sorted({state, optimizer, *(str(best["state"]) for best in bests.values() if best)})
        entry = {
            "start": start,
            "end": segment.end.step,
            "state": state,
            "optimizer": optimizer,
            "curve": [asdict(point) for point in measured.curve],
            **bests,
            "objects": objects,
            "parts": [],
            "diverged": None,
        }
        self.store.write(key, entry, folder)
        if folder == "checkpoints":
            self.store.clean_up(key, objects)

    def write_chain(self, key: str, parts: list[str]) -> None:
        self.store.write(key, {"parts": parts, "objects": [], "diverged": None})

    def write_diverged(self, key: str, error: Diverged) -> None:
        self.store.write(key, {"parts": [], "objects": [], "diverged": {"step": error.step, "what": error.what}})


def flat(optimizer: dict[str, Any]) -> State:
    """The tensors of an optimiser's state by parameter number and name."""
    return {
        f"{number}/{name}": value
        for number, values in optimizer["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _optimizer_state(session: Session, tensors: State) -> dict[str, Any]:
    """An optimiser's state_dict made of its tensors, in the order of the parameters, with the options in force.

    Raises LookupError and ValueError for tensors of another optimiser or network.
    """
    optimizer = session.optimizer or make_optimizer(session.recipe, session.model)
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, kind = name.partition("/")
        if value.shape != (torch.Size() if kind == "step" else shapes[int(number)]) or not value.is_floating_point():
            raise ValueError(f"{name} does not fit the optimiser")
        state.setdefault(int(number), {})[kind] = value
    known = all(kinds.keys() == STATES[session.recipe.optimizer] for kinds in state.values())
    if not known or len(state) not in (0, len(shapes)):
        raise ValueError(f"these are no states of {session.recipe.optimizer}, or not of all parameters")
    return {"state": dict(sorted(state.items())), "param_groups": optimizer.state_dict()["param_groups"]}
