"""Backward pass and optimiser step as torch computes them, without the Python that it runs around them.

Between two steps of training the processor forgets that code: on a small network it takes more than a tenth of a step.
Where anything is out of the ordinary (hooks, another optimiser, a parameter without a gradient), torch's own is called;
unseen are a patch of an optimiser's class, and a profiler that waits for the name of its step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice, repeat
from operator import is_, is_not
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.optim import optimizer as optimizer_hooks
from torch.overrides import has_torch_function_unary

Group = dict[str, Any]
Tensors = list[Tensor]
States = list[dict[str, Tensor]]


def backward(loss: Tensor) -> None:
    """What `loss.backward()` does."""
    if has_torch_function_unary(loss) or loss.numel() != 1:
        loss.backward()
        return
    start = torch.ones_like(loss)
    _engine_run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def advance(optimizer: torch.optim.Optimizer) -> None:
    """What `optimizer.step()` does, bit for bit."""
    kernel = _KERNELS.get(type(optimizer))
    if kernel is None or _is_unusual(optimizer):
        optimizer.step()
        return
    states = iter(optimizer.state.values())
    with torch.no_grad():
        for group in optimizer.param_groups:
            parameters = group["params"]
            gradients = [parameter.grad for parameter in parameters]
            kernel(group, parameters, gradients, list(islice(states, len(parameters))))


def _is_unusual(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is more than a call of the kernel on what the parameters and the state hold."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return (
        len(optimizer.state) != len(parameters)  # the first step makes it
        or not all(map(is_, optimizer.state, parameters))
        or not all(optimizer.state.values())
        or not all(map(is_not, [parameter.grad for parameter in parameters], repeat(None)))
        or len({parameter.dtype for parameter in parameters}) > 1
        or len({parameter.device for parameter in parameters}) > 1
        or not all(map(_has_usual_options, optimizer.param_groups))
        or bool(optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks)
        or bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
        or "step" in vars(optimizer)
    )


def _has_usual_options(group: Group) -> bool:
    usual = group["params"] and group["fused"] and group.get("momentum", 0.9)
    return bool(usual) and not (group["maximize"] or group.get("amsgrad"))


def _sgd(group: Group, parameters: Tensors, gradients: Tensors, states: States) -> None:
    torch._fused_sgd_(
        parameters,
        gradients,
        [state["momentum_buffer"] for state in states],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=False,
        is_first_step=False,
    )


def _adam(group: Group, parameters: Tensors, gradients: Tensors, states: States, *, decoupled: bool) -> None:
    kernel = torch._fused_adamw_ if group.get("decoupled_weight_decay", decoupled) else torch._fused_adam_
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    first, second = group["betas"]
    kernel(
        parameters,
        gradients,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        steps,
        lr=group["lr"],
        beta1=first,
        beta2=second,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


_KERNELS: dict[type[torch.optim.Optimizer], Callable[..., None]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: partial(_adam, decoupled=False),
    torch.optim.AdamW: partial(_adam, decoupled=True),
}
