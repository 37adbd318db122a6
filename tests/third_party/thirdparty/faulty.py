"""Pruners that misbehave."""

import ctypes
import os
import subprocess
import sys
import weakref
from dataclasses import dataclass

from lth_bench import hookimpl


@dataclass(frozen=True)
class Raiser:
    """Raises half-way."""

    def __call__(self, session):
        print("about to raise")
        session.train(until=5)
        raise RuntimeError("this method | has a <bug>")


@dataclass(frozen=True)
class NanWriter:
    """Writes NaN into a weight."""

    def __call__(self, session):
        session.train(until=5)
        next(iter(session.weights.values())).data.fill_(float("nan"))
        session.train()


@dataclass(frozen=True)
class Quitter:
    """Ends its process."""

    def __call__(self, session):
        os._exit(7)


@dataclass(frozen=True)
class Leaker:
    """Writes under its own mask after training."""

    def __call__(self, session):
        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        for weight in session.weights.values():
            weight.data.add_(1)


@dataclass(frozen=True)
class Hanger:
    """Never comes back."""

    def __call__(self, session):
        session.train(until=5)
        while True:
            pass


@dataclass(frozen=True)
class Plodder:
    """Trains and trains."""

    def __call__(self, session):
        start = session.snapshot()
        while True:
            session.train(until=5)
            session.rewind(start)


@dataclass(frozen=True)
class Segfaulter:
    """Reads where nothing is."""

    def __call__(self, session):
        ctypes.string_at(0)


@dataclass(frozen=True)
class Flooder:
    """Prints thirty megabytes, and is otherwise as it should be."""

    def __call__(self, session):
        for _ in range(30):
            print("x" * 1_000_000)
            print("y" * 1000, file=sys.stderr)
        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        session.train()


@dataclass(frozen=True)
class Spawner:
    """Leaves a process behind and dies."""

    def __call__(self, session):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        raise RuntimeError("left a process behind")


@dataclass(frozen=True)
class Hoarder:
    """Wants more memory than there is."""

    def __call__(self, session):
        import torch

        held = []
        while True:
            held.append(torch.empty(2**26))


@dataclass(frozen=True)
class Exiter:
    """Calls sys.exit as if it were a script."""

    def __call__(self, session):
        sys.exit(0)


@dataclass(frozen=True)
class Exploder:
    """Trains with weights that are far too large."""

    def __call__(self, session):
        for weight in session.weights.values():
            weight.data.mul_(1e30)
        session.train()


@dataclass(frozen=True)
class Babbler:
    """Raises with a text that UTF-8 cannot hold."""

    def __call__(self, session):
        raise ValueError("cannot read weights-\udcff.bin")


@dataclass(frozen=True)
class Mute:
    """Raises an exception that cannot even say what it is."""

    def __call__(self, session):
        class Wordless(Exception):
            def __str__(self):
                raise ValueError("no words")

        raise Wordless


@dataclass(frozen=True)
class Closer:
    """Closes what it was given to print to."""

    def __call__(self, session):
        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        session.train()
        sys.stdout.close()


@dataclass(frozen=True)
class Forger:
    """Answers in place of the harness."""

    def __call__(self, session):
        import gc

        (heartbeat,) = (thing for thing in gc.get_objects() if type(thing).__name__ == "Heartbeat")
        best = '{"step":1,"loss":0.0,"accuracy":1.0}'
        record = f'"status":"done","test":{{"last":{best}}},"sparsity":{{"measured":0.9}}'
        heartbeat.channel.end.sendall(f'\n{{"type":"Ended","record":{{{record}}}}}\n'.encode())
        os._exit(0)


@dataclass(frozen=True)
class Halver:
    """Begins to answer in place of the harness, in the wrong words, and goes."""

    def __call__(self, session):
        import gc

        (heartbeat,) = (thing for thing in gc.get_objects() if type(thing).__name__ == "Heartbeat")
        heartbeat.channel.end.sendall(b'\n{"type":"Ended"}\n{"type":"MustWait"}\n')
        heartbeat.channel.end.sendall(b'\n[1]\nxyz\n{"type":"Trained","hand')
        os._exit(0)


@dataclass(frozen=True)
class Curver:
    """Writes what is no number into the curve."""

    def __call__(self, session):
        import dataclasses

        session.prune({name: weight.detach().abs() for name, weight in session.weights.items()})
        session.train()
        session.course.monitor.curve[0] = dataclasses.replace(
            session.course.monitor.curve[0], validation_loss=float("nan")
        )


@dataclass(frozen=True)
class Holder:
    """Spends its days in C and lets no other thread of its process run."""

    def __call__(self, session):
        import re

        re.match("(a+)+$", "a" * 60 + "b")


class Ring:
    """Garbage that counting references does not find."""

    def __init__(self):
        self.ring = self


@dataclass(frozen=True)
class Litterer:
    """Trusts Python to collect what it leaves behind."""

    def __call__(self, session):
        first = weakref.ref(Ring())
        litter = [[] for _ in range(100_000)]
        if first():
            raise RuntimeError(f"garbage is still there after {len(litter):,} objects more")


PRUNERS = (
    Babbler,
    Mute,
    Closer,
    Forger,
    Halver,
    Curver,
    Holder,
    Raiser,
    NanWriter,
    Quitter,
    Leaker,
    Hanger,
    Plodder,
    Segfaulter,
    Flooder,
    Spawner,
    Hoarder,
    Exiter,
    Exploder,
    Litterer,
)


@hookimpl
def register_pruners(register):
    for pruner in PRUNERS:
        register(pruner.__name__.lower(), pruner)
