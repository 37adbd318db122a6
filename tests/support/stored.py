"""Sessions that look training up in a store, and all that comes of them."""

from __future__ import annotations

from lth_bench.training.memory import Memory
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import RECIPES, examples, network


def session(store, recipe=RECIPES["sgd"], sparsity=0.5, watch=None, **about):
    memory = Memory(store, about, watch) if store else None
    return Session(Setup(network, examples(70), examples(20, 1), recipe, sparsity, 0, memory))


def spent(session):
    return session.account.spent.steps_computed, session.account.spent.steps_looked_up


def outcome(session):
    """All that a record and a ticket are made of."""
    session.finish()
    monitor = session.course.monitor
    bests = [best and (best.measurement, _values(best.state)) for best in (monitor.accurate, monitor.early_stop)]
    ticket = (session.course.ticket.step, _values(session.course.ticket.state))
    masks = _values(session.masks)
    return monitor.curve, bests, session.account.ledger.events, ticket, masks, _values(session.model.state_dict())


def _values(state):
    return {name: value.tolist() for name, value in state.items()}
