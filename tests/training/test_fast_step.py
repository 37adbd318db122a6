"""A step through torch's kernels is torch's own, bit for bit; hooks, odd options and odd states are left to torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lth_bench.training import fast_step

MAKERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda groups: SGD(groups, 0.1, momentum=0.9, weight_decay=0.01, fused=True),
    "nesterov": lambda groups: SGD(groups, 0.1, momentum=0.9, nesterov=True, fused=True),
    "dampened": lambda groups: SGD(groups, 0.1, momentum=0.9, dampening=0.2, fused=True),
    "adam": lambda groups: Adam(groups, 0.01, weight_decay=0.01, fused=True),
    "adamw": lambda groups: AdamW(groups, 0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, fused=True),
}
OTHERS: dict[str, Callable[[Any], Optimizer]] = {
    "no momentum": lambda groups: SGD(groups, 0.1, weight_decay=0.01, fused=True),
    "not fused": lambda groups: Adam(groups, 0.01),
    "amsgrad": lambda groups: Adam(groups, 0.01, amsgrad=True, fused=True),
    "maximised": lambda groups: SGD(groups, 0.1, momentum=0.9, maximize=True, fused=True),
    "another": lambda groups: torch.optim.RMSprop(groups, 0.01),
}


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))


def two_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Biases apart, without decay: the groups' parameters do not come in the network's order."""
    biases = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    return [{"params": biases, "weight_decay": 0.0}, {"params": weights}]


def loss(network: nn.Module, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    inputs, labels = torch.randn(4, 6, generator=generator), torch.randint(3, (4,), generator=generator)
    return nn.functional.cross_entropy(network(inputs), labels)


def turned(state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's state, its parameters the other way round."""
    return {**state, "state": dict(reversed(state["state"].items()))}


class Pair:
    """Two equal networks: one takes torch's steps, the other the kernels'."""

    def __init__(self, make: Callable[[Any], Optimizer], groups: Callable[[nn.Module], Any] = two_groups) -> None:
        self.plain = make_network()
        self.lean = copy.deepcopy(self.plain)
        self.optimizers = make(groups(self.plain)), make(groups(self.lean))

    def train(self, start: int, end: int) -> None:
        for number in range(start, end):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
                for group in optimizer.param_groups:
                    group["lr"] = 0.1 / (number + 1)
            loss(self.plain, number).backward()
            self.optimizers[0].step()
            fast_step.backward(loss(self.lean, number))
            fast_step.advance(self.optimizers[1])

    def assert_equal(self) -> None:
        for one, other in zip(self.plain.parameters(), self.lean.parameters(), strict=True):
            assert torch.equal(one, other)
            assert (one.grad is None) == (other.grad is None)
            assert one.grad is None or torch.equal(one.grad, other.grad)
        states = [optimizer.state_dict()["state"] for optimizer in self.optimizers]
        assert states[0].keys() == states[1].keys()
        for number, values in states[0].items():
            assert values.keys() == states[1][number].keys()
            for name, value in values.items():
                assert torch.equal(value, states[1][number][name])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("groups", [two_groups, lambda network: list(network.parameters())], ids=["two", "one"])
def test_steps_are_torchs_bit_for_bit_and_only_kernels_run(
    make: Callable[[Any], Optimizer], groups: Callable[[nn.Module], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(make, groups)
    start = [parameter.clone() for parameter in pair.lean.parameters()]
    pair.train(0, 4)
    pair.assert_equal()
    assert not any(map(torch.equal, start, pair.lean.parameters()))

    optimizer = pair.optimizers[1]
    loss(pair.lean, 5).backward()
    monkeypatch.setattr(type(optimizer), "step", None)
    fast_step.advance(optimizer)


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_other_optimisers_take_their_own_steps(make: Callable[[Any], Optimizer]) -> None:
    pair = Pair(make)
    pair.train(0, 4)
    pair.assert_equal()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_changes_between_steps_is_seen(make: Callable[[Any], Optimizer]) -> None:
    pair = Pair(make)
    pair.train(0, 2)
    for change in (
        lambda optimizer: optimizer.state.clear(),
        lambda optimizer: [state.clear() for state in optimizer.state.values()],
        lambda optimizer: optimizer.load_state_dict(turned(copy.deepcopy(optimizer.state_dict()))),
        lambda optimizer: optimizer.param_groups[0].update(weight_decay=0.5),
        lambda optimizer: optimizer.param_groups[1].update({"betas": (0.5, 0.6), "momentum": 0.5}),
        lambda optimizer: optimizer.add_param_group({"params": []}),
        lambda optimizer: optimizer.param_groups.pop(),
        lambda optimizer: optimizer.param_groups[0]["params"][0].requires_grad_(False),
        lambda optimizer: optimizer.param_groups[0]["params"][0].requires_grad_(True),
        lambda optimizer: optimizer.param_groups[1].update(momentum=0.0),
        lambda optimizer: optimizer.param_groups[0].update(maximize=True),
    ):
        for optimizer in pair.optimizers:
            change(optimizer)
        pair.train(2, 4)
        pair.assert_equal()


@pytest.mark.parametrize(
    "extra",
    [
        lambda network: [nn.Parameter(torch.ones(3, dtype=torch.float64))],
        lambda network: [nn.Parameter(torch.ones(3))],  # gets no gradient
    ],
)
def test_parameters_that_no_kernel_takes_together_are_left_to_torch(
    extra: Callable[[nn.Module], list[nn.Parameter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(MAKERS["adam"], lambda network: [*network.parameters(), *extra(network)])
    steps: list[Optimizer] = []
    own = Adam.step
    for number in range(3):
        for network, optimizer in zip((pair.plain, pair.lean), pair.optimizers, strict=True):
            optimizer.zero_grad()
            last = optimizer.param_groups[0]["params"][-1]
            (loss(network, number) + (last.square().sum() if last.dtype == torch.float64 else 0)).backward()
        pair.optimizers[0].step()
        with monkeypatch.context() as patch:
            patch.setattr(Adam, "step", lambda optimizer: steps.append(optimizer) or own(optimizer))
            fast_step.advance(pair.optimizers[1])
    pair.assert_equal()
    assert steps == [pair.optimizers[1]] * 3


def test_hooks_and_a_step_of_somebody_elses_are_called() -> None:
    pair, calls = Pair(MAKERS["sgd"]), []
    pair.train(0, 2)
    optimizer = pair.optimizers[1]

    def note(what: str) -> Callable[..., None]:
        return lambda *_: calls.append((what, torch.is_grad_enabled()))

    for register, what in (
        (optimizer.register_step_pre_hook, "before"),
        (optimizer.register_step_post_hook, "after"),
        (register_optimizer_step_pre_hook, "before any"),
        (register_optimizer_step_post_hook, "after any"),
    ):
        hook = register(note(what))
        fast_step.advance(optimizer)
        hook.remove()
        assert calls.pop() == (what, True)
    optimizer.step = note("instead")  # type: ignore[method-assign]
    fast_step.advance(optimizer)
    assert calls == [("instead", True)]


def test_a_loss_that_looks_after_itself_is_asked() -> None:
    class Loss(Tensor):
        asked = False

        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            cls.asked = cls.asked or function is Tensor.backward
            return super().__torch_function__(function, types, args, kwargs or {})

    weight = nn.Parameter(torch.ones(2))
    fast_step.backward(weight.sum().as_subclass(Loss))
    assert Loss.asked
    assert torch.equal(weight.grad, torch.ones(2))


def test_gradients_add_up() -> None:
    weight = nn.Parameter(torch.ones(2))
    for _ in range(2):
        fast_step.backward(weight.sum())
    assert torch.equal(weight.grad, torch.full((2,), 2.0))


def test_a_loss_of_several_elements_is_refused_as_by_torch() -> None:
    with pytest.raises(RuntimeError, match="scalar outputs"):
        fast_step.backward(nn.Parameter(torch.ones(2)) * 2)


class Altered:
    """A module as it is, except for one name: without it, or with another value."""

    def __init__(self, module: Any, name: str, *value: Any) -> None:
        self._module, self._name, self._value = module, name, value

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._module, name)
        if not self._value:
            raise AttributeError(name)
        return self._value[0]

    @property
    def __dict__(self) -> dict[str, Any]:  # what vars() reads
        return {name: value for name, value in vars(self._module).items() if name != self._name}


def refuse(*arguments: Any, **options: Any) -> None:
    raise TypeError("unexpected keyword argument")


def do_nothing(*arguments: Any, **options: Any) -> None:
    pass


CHANGES = {"missing": (), "with other arguments": (refuse,), "without effect": (do_nothing,)}
PRIVATE = [
    ("sgd", "torch", "_fused_sgd_"),
    ("adam", "torch", "_fused_adam_"),
    ("adamw", "torch", "_fused_adamw_"),
    ("adam", "torch", "_foreach_add_"),
    ("sgd", "graph", "_engine_run_backward"),
]


@pytest.fixture
def _tried_anew() -> Iterator[None]:
    """Torch's functions are tried again, inside the test and behind it."""
    trials = (fast_step._backward_works, fast_step._advance_works)
    for trial in trials:
        trial.cache_clear()
    yield
    for trial in trials:
        trial.cache_clear()


@pytest.mark.usefixtures("_tried_anew")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(("name", "module", "function"), PRIVATE)
def test_torchs_own_step_runs_where_a_private_function_is_missing_or_changed(
    name: str, module: str, function: str, change: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_step, module, Altered(getattr(fast_step, module), function, *change))
    pair = Pair(MAKERS[name])
    pair.train(0, 4)
    pair.assert_equal()
    works = fast_step._backward_works() if module == "graph" else fast_step._advance_works(type(pair.optimizers[1]))
    assert not works


@pytest.mark.parametrize("name", ["_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"])
def test_torchs_own_step_runs_where_hooks_cannot_be_looked_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_step, "optimizer_hooks", Altered(fast_step.optimizer_hooks, name))
    pair = Pair(MAKERS["sgd"])
    pair.train(0, 4)
    pair.assert_equal()
    assert fast_step._is_unusual(pair.optimizers[1])


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_this_torchs_private_functions_work(kind: type[Optimizer]) -> None:
    assert fast_step._backward_works() and fast_step._advance_works(kind)
