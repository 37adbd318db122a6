"""Backward pass and optimiser step as torch computes them, without the Python that torch runs around them.

On small networks that Python falls out of the CPU cache between two steps and then costs over 10 % of a step. Where
anything is out of the ordinary (hooks, another optimiser, a parameter without a gradient), torch's own `backward()` and
`step()` run. They also run where the private functions of torch that this module calls are missing, or have come to
compute something else: each is tried once on a few numbers. Not noticed are a patched `step` of an optimiser's class,
and a profiler that waits for the name of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import islice, repeat
from operator import is_, is_not
from typing import Any

import torch
from torch import Tensor
from torch.autograd import graph
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks
from torch.overrides import has_torch_function_unary

Group = dict[str, Any]
Tensors = list[Tensor]
States = list[dict[str, Tensor]]


def backward(loss: Tensor) -> None:
    """What `loss.backward()` does."""
    if has_torch_function_unary(loss) or loss.numel() != 1 or not _backward_works():
        loss.backward()
    else:
        _backward(loss)


def advance(optimizer: Optimizer) -> None:
    """What `optimizer.step()` does, bit for bit."""
    kind: Any = type(optimizer)
    if kind not in _KERNELS or _is_unusual(optimizer) or not _advance_works(kind):
        optimizer.step()
    else:
        _advance(optimizer)


def _backward(loss: Tensor) -> None:
    start = torch.ones_like(loss)
    graph._engine_run_backward((loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _advance(optimizer: Optimizer) -> None:
    kernel, states = _KERNELS[type(optimizer)], iter(optimizer.state.values())
    with torch.no_grad():
        for group in optimizer.param_groups:
            parameters = group["params"]
            gradients = [parameter.grad for parameter in parameters]
            kernel(group, parameters, gradients, list(islice(states, len(parameters))))


@cache
def _backward_works() -> bool:
    """Whether the backward pass without torch's Python gives the gradient of torch's own."""
    try:
        slopes: list[Any] = []
        for way in (torch.Tensor.backward, _backward):
            value = torch.tensor([0.3, -2.0], requires_grad=True)
            with torch.enable_grad():
                way(value.square().mul(1.7).sum())
            slopes.append(value.grad)
        return slopes[1] is not None and torch.equal(*slopes)
    except (AttributeError, TypeError, RuntimeError):
        return False


@cache
def _advance_works(kind: Any) -> bool:
    """Whether steps without torch's Python come to the bits of torch's own, after a first step that makes the state."""
    try:
        ends = []
        for way in (kind.step, _advance):
            value = torch.tensor([0.3, -2.0], requires_grad=True)
            options: Any = {"momentum": 0.9} if kind is torch.optim.SGD else {}
            optimizer = kind([value], lr=0.1, weight_decay=0.2, fused=True, **options)
            for number, step in enumerate((kind.step, way, way)):
                value.grad = torch.tensor([0.7, -0.1 * number])
                step(optimizer)
            ends.append(value.detach())
        return torch.equal(*ends)
    except (AttributeError, TypeError, RuntimeError):
        return False


def _is_unusual(optimizer: Optimizer) -> bool:
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
        or _has_hooks(optimizer)
        or "step" in vars(optimizer)
    )


def _has_hooks(optimizer: Optimizer) -> bool:
    """Whether hooks run before or after a step, or cannot be looked up."""
    try:
        everywhere = optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks
        return bool(everywhere or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
    except AttributeError:
        return True


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


_KERNELS: dict[type[Optimizer], Callable[..., None]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: partial(_adam, decoupled=False),
    torch.optim.AdamW: partial(_adam, decoupled=True),
}
