"""Traces that a pruner may leave outside its results."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules import module as global_hooks

if TYPE_CHECKING:
    from lth_bench.training.session import Session

SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "threads": (torch.get_num_threads, torch.set_num_threads),
}


def attached(session: Session) -> set[str]:
    """In words, everything attached to a network, to torch or to a Session that would act later."""
    traces = {f"a global hook ({name})" for name, held in vars(global_hooks).items() if "_global" in name and held}
    for path, module in session.model.named_modules():
        where = path or "the network"
        traces |= {f"{name} of {where}" for name, value in vars(module).items() if name.endswith("_hooks") and value}
        traces |= {f"a forward of its own of {where}"} if "forward" in vars(module) else set()
        traces |= {f"forward of {type(module).__name__} ({id(type(module).forward)})"}
    for name, parameter in session.model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            traces.add(f"a hook of {name}")
    traces |= {f"another session.{name}" for name in vars(session) if callable(getattr(type(session), name, None))}
    return traces | _settings()


def _settings() -> set[str]:
    return {f"torch's setting of {name}: {read()}" for name, (read, _) in SETTINGS.items()}


@contextmanager
def undone() -> Iterator[None]:
    """Puts torch's settings and global hooks back as they were."""
    settings = {name: read() for name, (read, _) in SETTINGS.items()}
    registered = {name: held for name, held in vars(global_hooks).items() if "_global" in name}
    hooks = {name: dict(held) for name, held in registered.items() if isinstance(held, dict)}
    try:
        yield
    finally:
        for name, (_, write) in SETTINGS.items():
            write(settings[name])
        for name, held in hooks.items():
            registered[name].clear()
            registered[name].update(held)


def global_noise() -> str:
    """The random state of numpy and of Python's random."""
    _, words, *rest = np.random.get_state()
    return repr((random.getstate(), np.asarray(words).tobytes(), rest))
