"""Passes of a Session's own network: outputs, loss and gradients, charged to its account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from lth_bench.data.examples import Batch
from lth_bench.training.account import Account
from lth_bench.training.clock import Clock


class Passes:
    """The passes of a network, in the recipe's precision or, while one is set, in `precision`."""

    def __init__(self, model: nn.Module, clock: Clock, account: Account) -> None:
        self._model, self._clock, self._account = model, clock, account
        self.precision: torch.dtype | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs in the recipe's precision; scores are computed in float32 at least, so that few of them tie."""
        self._account.passed(len(inputs))
        if self._account.scoring or self._clock.recipe.precision == "float32":
            return cast(Tensor, self._model(inputs if self.precision is None else inputs.to(self.precision)))
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return cast(Tensor, self._model(inputs).float())

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy with the recipe's label smoothing; outside of scoring, the loss of the tick."""
        logits = self.forward(batch.inputs)
        loss = nn.functional.cross_entropy(logits, batch.labels, label_smoothing=self._clock.recipe.label_smoothing)
        if not self._account.scoring:
            self._account.loss = loss
        return loss

    def dense_gradients(self, batch: Batch, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """Gradients of the loss for all of these weights, pruned ones too."""
        loss = self.loss(batch)
        self._account.charge_dense()
        gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        return dict(zip(weights, gradients, strict=True))
