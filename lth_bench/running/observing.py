"""What an observer is told, in the order in which it is told: in a process of its own, or afterwards from records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import Plugins
from lth_bench.running.messages import CannotGoOn, Channel, Idle, Observe, Progress, Told
from lth_bench.running.plugin_lines import plugin_line
from lth_bench.storage.events import (
    Event,
    ExperimentFinished,
    ExperimentMeasured,
    ExperimentPruned,
    ExperimentStarted,
    Live,
    replayed,
)
from lth_bench.storage.record import Identity, Record


@dataclass
class _Followed:
    """An experiment that an observer follows: what it has returned for it, and all that it was told since.

    `offset` is the position at which the round began; `measured` is the last step measured in it.
    """

    started: ExperimentStarted
    observing: Any
    told: list[Live] = field(default_factory=list)
    offset: int = 0
    measured: int = 0

    def hear(self, event: Live) -> None:
        """Tells of a point or a pruning, with its position: it counts on where the clock goes back."""
        is_point = isinstance(event, ExperimentMeasured)
        if self.told and (event.step < self.told[-1].step or (is_point and event.step == self.measured)):
            self.offset, self.measured = self.offset + self.told[-1].step, 0
        if is_point:
            self.measured = event.step
        self.told.append(event)
        _call(self.observing, structs.replace(event, position=self.offset + event.step))


class Audience:
    """An observer, and the experiments that it follows."""

    def __init__(self, observer: Any) -> None:
        self._observer = observer
        self._followed: dict[str, _Followed] = {}

    def begin(self, started: ExperimentStarted) -> _Followed:
        """Starts to follow an experiment, or starts again."""
        followed = self._followed[started.key] = _Followed(started, self._observer(started))
        return followed

    def hear(self, key: str, event: Event) -> None:
        """Tells the observer of an event; before the end of an experiment, of all that its record holds."""
        if isinstance(event, ExperimentStarted):
            self.begin(event)
        elif isinstance(event, ExperimentMeasured | ExperimentPruned):
            self._followed[key].hear(event)
        else:
            followed = self._followed.pop(key)
            if isinstance(event, ExperimentFinished) and event.record.curve is not None:
                followed = self._corrected(followed, event.record)
            _call(followed.observing, event)

    def replay(self, directory: Path, identity: Identity, record: Record) -> None:
        """Tells the observer of a finished experiment, as if it had just been run."""
        self.begin(ExperimentStarted(identity, str(directory)))
        self.hear(identity.key, ExperimentFinished(record))

    def _corrected(self, followed: _Followed, record: Record) -> _Followed:
        """An experiment of which all was told that is in its record: adds what is missing, or starts again."""
        whole = list(replayed(record))
        if followed.told != whole[: len(followed.told)]:
            followed = self.begin(followed.started)
            del self._followed[record.key]
        for event in whole[len(followed.told) :]:
            followed.hear(event)
        return followed


def _call(observing: Any, event: Event) -> None:
    """Calls the method that is named after an event, if there is one."""
    name = event.__struct_config__.tag
    if method := getattr(observing, str(name), None):
        method(event)


def observe(channel: Channel, request: Observe, plugins: Plugins) -> None:
    """Tells an observer what comes over a channel, until Stop; sends Progress after each event, and Idle in the end.

    Where the observer raises, the reason is sent, and that is the end.
    """
    told = 0
    try:
        choice = request.observer
        audience = Audience(instantiate(plugins.observers, choice.name, choice.arguments))
        while message := channel.receive():
            if not isinstance(message, Told):
                break
            audience.hear(message.key, message.event)
            told += 1
            channel.send(Progress(told))
        channel.send(Idle(0))
    except EOFError:
        return
    except BaseException as error:
        channel.send(CannotGoOn(reason(error)))
        raise


def reason(error: BaseException) -> str:
    """An exception in a line, with the line of a plugin in which it arose."""
    place = f" at {line}" if (line := plugin_line(error)) else ""
    return " ".join(f"{type(error).__name__}{place}: {error}".split())[:300]
