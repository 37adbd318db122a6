"""Backward pass and optimiser step as torch computes them, without the Python that it runs around them.

Between two steps of training the processor forgets that code: on a small network it takes more than a tenth of a step.
Where anything is out of the ordinary (hooks, another optimiser, a parameter without a gradient), torch's own is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from operator import is_, is_not
from typing import Any

import torch
from torch import Tensor
from torch.optim import optimizer as hooks
from torch.overrides import has_torch_function_unary

Group = dict[str, Any]
Tensors = list[Tensor]
States = list[dict[str, Tensor]]
UNUSUAL = ("amsgrad", "capturable", "differentiable", "maximize")

_run_backward = torch.autograd.Variable._execution_engine.run_backward


def backward(loss: Tensor) -> None:
    """What `loss.backward()` does, for a loss of one element."""
    if has_torch_function_unary(loss):
        loss.backward()
        return
    _run_backward((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)


@torch.no_grad()
def step(optimizer: torch.optim.Optimizer) -> None:
    """What `optimizer.step()` does, bit for bit."""
    groups = optimizer.param_groups
    kernel = _KERNELS.get(type(optimizer))
    if kernel is None or _is_unusual(optimizer):
        optimizer.step()
        return
    states = iter(optimizer.state.values())
    for group in groups:
        parameters = group["params"]
        gradients = [parameter.grad for parameter in parameters]
        kernel(group, parameters, gradients, [state for _, state in zip(parameters, states, strict=False)])


def _is_unusual(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step is more than a call of the kernel on what the parameters and the state hold."""
    groups = optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    return (
        len(optimizer.state) != len(parameters)  # the first step makes it
        or not all(map(is_, optimizer.state, parameters))
        or not all(map(is_not, [parameter.grad for parameter in parameters], repeat(None)))
        or len({parameter.dtype for parameter in parameters}) > 1
        or len({parameter.device for parameter in parameters}) > 1
        or not all(group["fused"] for group in groups)
        or any(group.get(option) for group in groups for option in UNUSUAL)
        or bool(hooks._global_optimizer_pre_hooks or hooks._global_optimizer_post_hooks)
        or bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
        or "step" in vars(optimizer)
    )


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
