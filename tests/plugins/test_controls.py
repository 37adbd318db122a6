"""Controls: what each changes, what it leaves, and that it refuses where it could change nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from lth_bench import Base, Ticket, Unsuitable
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment, Origin, Planned
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import Provider, load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.pruning import masks
from lth_bench.pruning.alignment import matched
from lth_bench.pruning.allocation import kept_count
from lth_bench.pruning.channels import structure, thin
from lth_bench.pruning.hidden_units import hidden_units, permuted
from lth_bench.results.frame import results
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.running.transfer import fitted, origin_faults
from lth_bench.running.worker import make_context
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_plan, write_record
from lth_bench.storage.store import Store
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.documents import entry, read_documents, write_document
from support.networks import RECIPES, examples, make_session, network, states_equal
from support.pairs import pair_session

PLUGINS = load_plugins()
CONTROLS = ["shuffle", "redraw", "sign", "random_layerwise", "invert", "transfer", "aligned", "winning_signs"]
RESET = ("imp", {"rate": 0.5})
LATE = ("imp", {"rate": 0.5, "rewind_to": "3it"})
FINE_TUNED = ("magnitude", {})
BASES = [("snip", {"examples": 20}), RESET, LATE, FINE_TUNED, ("random", {})]
every_base = pytest.mark.parametrize("base", BASES, ids=str)


def session_of(sparsity=0.75, seed=0):
    return make_session(RECIPES["sgd"], sparsity, seed)


def based(base, sparsity=0.75, seed=0):
    """A pruner, and the ticket and the session that it leaves."""
    pruner, session = instantiate(PLUGINS.pruners, *base), session_of(sparsity, seed)
    pruner(session)
    session.finish()
    made = Ticket(session.course.ticket.step, session.course.ticket.state, session.masks, session.model.state_dict())
    return Base(pruner, made), session


def controlled(name, base, sparsity=0.75, seed=0, **arguments):
    """The session that a control leaves."""
    session = session_of(sparsity, seed)
    instantiate(PLUGINS.controls, name, arguments)(session, base)
    session.finish()
    return session


def steps(session):
    return sum(event.steps for event in session.account.ledger.events)


def differ(one, other):
    return any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", CONTROLS)
@every_base
def test_every_control_meets_the_target_and_trains_as_long_as_the_ticket(name, base):
    found, session = based(base)
    made = controlled(name, found)
    assert sum(masks.kept(made.masks).values()) == kept_count(0.75, 312)
    assert made.step == (30 if name in ("redraw", "random_layerwise", "winning_signs") else session.step)


@every_base
def test_shuffle_moves_the_mask_within_layers_and_no_weight(base):
    found, _ = based(base)
    made = controlled("shuffle", found)
    assert masks.kept(made.masks) == masks.kept(found.ticket.masks) and differ(made.masks, found.ticket.masks)
    dense = session_of()
    dense.train(until=found.ticket.step)
    for layer, mask in made.masks.items():
        assert torch.equal(made.course.ticket.state[layer], dense.weights[layer] * mask)
        assert made.course.ticket.state[layer][mask].all(), "no weight starts where the ticket has a zero"
    assert made.course.ticket.step == found.ticket.step


@pytest.mark.parametrize(
    "base",
    [
        ("imp", {"rate": 0.5, "retraining": "learning_rate_rewinding"}),
        ("imp", {"rate": 0.5, "retraining": "learning_rate_rewinding", "rewind_to": "3it"}),
        ("imp", {"rate": 0.3, "retraining": "fine_tuning"}),
    ],
    ids=str,
)
def test_a_mask_is_not_shuffled_where_that_would_change_the_weights_too(base):
    found, _ = based(base)
    with pytest.raises(Unsuitable, match=f"step {found.ticket.step} from weights that the dense .* random_layerwise"):
        controlled("shuffle", found)
    assert masks.kept(controlled("random_layerwise", found).masks) == masks.kept(found.ticket.masks)


@every_base
def test_random_layerwise_keeps_the_counts_alone(base):
    found, _ = based(base)
    made = controlled("random_layerwise", found)
    assert masks.kept(made.masks) == masks.kept(found.ticket.masks)
    assert differ(made.masks, found.ticket.masks) and differ(made.masks, controlled("shuffle", found).masks)
    for layer, weight in session_of().weights.items():
        assert torch.equal(made.course.ticket.state[layer], weight * made.masks[layer])
    moved = Base(found.pruner, dataclasses.replace(found.ticket, masks=controlled("shuffle", found).masks))
    assert states_equal(controlled("random_layerwise", moved).masks, made.masks), "wherever the ticket keeps them"
    assert made.course.ticket.step == 0 and steps(made) == 30


@every_base
def test_redraw_keeps_the_mask_and_no_weight(base):
    found, _ = based(base)
    made = controlled("redraw", found)
    assert states_equal(made.masks, found.ticket.masks)
    for layer, mask in found.ticket.masks.items():
        drawn = made.course.ticket.state[layer][mask]
        assert not (drawn == found.ticket.start[layer][mask]).any()
        assert not (drawn == session_of().weights[layer][mask]).any()
    assert made.course.ticket.step == 0 and steps(made) == 30


@pytest.mark.parametrize("magnitudes", ["constant", "redrawn"])
@every_base
def test_sign_keeps_mask_and_signs_and_no_magnitude(magnitudes, base):
    found, _ = based(base)
    made, ticket = controlled("sign", found, magnitudes=magnitudes), found.ticket
    assert states_equal(made.masks, ticket.masks) and made.course.ticket.step == ticket.step
    for layer, mask in ticket.masks.items():
        reset, before = made.course.ticket.state[layer][mask], ticket.start[layer][mask]
        assert torch.equal(reset.sign(), before.sign()) and reset.all()
        assert not torch.isclose(reset, before, rtol=1e-6).any()
        initial = session_of().weights[layer].detach()
        if magnitudes == "constant":
            assert torch.allclose(reset.abs(), initial.std(correction=0))
        else:
            assert not torch.isclose(reset.abs(), initial[mask].abs(), rtol=1e-6).any()
            assert reset.abs().std(correction=0) == pytest.approx(float(initial.abs().std()), rel=0.5)
    others = [name for name in ticket.start if name not in ticket.masks]
    assert others and all(torch.equal(made.course.ticket.state[name], ticket.start[name]) for name in others)


@every_base
def test_transfer_trains_exactly_the_weights_of_the_ticket(base):
    found, session = based(base)
    made = controlled("transfer", found)
    assert states_equal(made.masks, found.ticket.masks)
    assert states_equal(made.course.ticket.state, found.ticket.start) and made.course.ticket.step == found.ticket.step
    if base != LATE and base != FINE_TUNED:  # those go on with an optimiser that has a state
        assert states_equal(made.model.state_dict(), session.model.state_dict())


def test_a_ticket_whose_weights_were_never_trained_stays_as_it_is():
    found, _ = based(FINE_TUNED)
    untouched = dataclasses.replace(found.ticket, final=found.ticket.start)
    made = controlled("transfer", Base(found.pruner, untouched))
    assert states_equal(made.model.state_dict(), found.ticket.start) and steps(made) == 0
    assert steps(controlled("transfer", found)) == 30, "fine-tuning lasts as long again"


@every_base
def test_aligned_permutes_hidden_units_of_the_mask_and_trains_other_weights(base):
    found, _ = based(base)
    made = controlled("aligned", found)
    assert masks.kept(made.masks) == masks.kept(found.ticket.masks) and differ(made.masks, found.ticket.masks)
    first, mine = (values["fc1.weight"].tolist() for values in (found.ticket.masks, made.masks))
    assert sorted(first) == sorted(mine), "whole units change places"
    other = session_of()
    other.redraw()
    other.train(until=found.ticket.step)
    for layer, mask in made.masks.items():
        assert torch.equal(made.course.ticket.state[layer], other.weights[layer] * mask)
    assert made.course.ticket.step == found.ticket.step
    before, after = made.notes["likeness"]
    assert before < after < 1


@every_base
def test_winning_signs_keeps_the_mask_and_the_trained_signs_and_draws_the_magnitudes_of_redraw(base):
    found, _ = based(base)
    made, fresh = controlled("winning_signs", found), controlled("redraw", found).course.ticket.state
    assert states_equal(made.masks, found.ticket.masks) and made.course.ticket.step == 0 and steps(made) == 30
    start = made.course.ticket.state
    for name in [*found.ticket.masks, "fc1.bias", "fc2.bias", "fc3.bias"]:
        assert torch.equal(start[name].abs(), fresh[name].abs()) and not torch.equal(start[name], fresh[name])
        kept = start[name] != 0
        assert torch.equal(start[name][kept].sign(), found.ticket.final[name][kept].sign())
    assert torch.equal(start["norm.weight"], fresh["norm.weight"]) and not start["norm.bias"].any()


# ---- by hand: two layers of 2×2 weights, 1, -2, 3, -4 and 5, -6, 0.5, 2.5 --------------------------------------------


def pair_base(pruner, **arguments):
    session, pruner = pair_session(), instantiate(PLUGINS.pruners, pruner, arguments)
    pruner(session)
    session.finish()
    ticket = Ticket(session.course.ticket.step, session.course.ticket.state, session.masks, session.model.state_dict())
    return Base(pruner, ticket)


def rows(tensors):
    return [
        [round(value, 4) for value in tensors[layer].float().flatten().tolist()] for layer in ("a.weight", "b.weight")
    ]


def test_invert_by_hand():
    # Of eight weights, the largest four are 3, -4, 5, -6; what is left are the lowest: 1, -2, 0.5, 2.5.
    base = pair_base("magnitude", prune_at="initialisation")
    assert rows(base.ticket.masks) == [[0, 0, 1, 1], [1, 1, 0, 0]]
    session = pair_session()
    instantiate(PLUGINS.controls, "invert", {})(session, base)
    assert rows(session.masks) == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_invert_keeps_the_lowest_in_every_round():
    found, _ = based(("imp", {"rate": 0.5, "rewind_to": "0it"}))
    dense = session_of()
    dense.train()
    lowest = masks.pruned({name: -w.detach().abs() for name, w in dense.weights.items()}, session_of().masks, 0.5)
    made = controlled("invert", found)
    assert all(not (mask & ~lowest[layer]).any() for layer, mask in made.masks.items()), "the second round prunes more"


def test_sign_by_hand():
    # A has mean -0.5 and squares 1, 4, 9, 16: variance 7.5 - 0.25; B has mean 0.5 and squares 25, 36, 0.25, 6.25:
    # variance 16.875 - 0.25.
    base = pair_base("magnitude", prune_at="initialisation")
    session = pair_session()
    instantiate(PLUGINS.controls, "sign", {})(session, base)
    a, b = round(7.25**0.5, 4), round(16.625**0.5, 4)
    assert rows(session.model.state_dict()) == [[0, 0, a, -a], [b, -b, 0, 0]]


def test_aligned_by_hand():
    # The other network is the first with its hidden units reversed: so is the mask, its input side and its output side.
    first, found = session_of(), based(RESET)[0].ticket
    first.train()
    orders = [torch.arange(12).flip(0), torch.arange(8).flip(0)]
    units = hidden_units(first.model, first.input_shape)
    reversed_ = permuted(first.model.state_dict(), units, orders)
    back = matched(units, first.model.state_dict(), reversed_, torch.Generator())
    assert [order.tolist() for order in back] == [order.tolist() for order in orders]
    mask = permuted(found.masks, units, back)
    assert torch.equal(mask["fc1.weight"], found.masks["fc1.weight"].flip(0))
    assert torch.equal(mask["fc2.weight"], found.masks["fc2.weight"].flip(0, 1))
    assert torch.equal(mask["fc3.weight"], found.masks["fc3.weight"].flip(1))


def test_winning_signs_by_hand():
    # The pruner keeps 3, -4, 5 and -6; training has turned the first and the last; new weights are the old ones.
    base = pair_base("magnitude", prune_at="initialisation")
    final = {name: value.clone() for name, value in base.ticket.final.items()}
    final["a.weight"].view(-1)[2], final["b.weight"].view(-1)[1] = -0.1, 0.2
    session = pair_session()
    signed = instantiate(PLUGINS.controls, "winning_signs", {}).signed(
        session.model.state_dict(), Base(base.pruner, dataclasses.replace(base.ticket, final=final))
    )
    assert rows(signed) == [[0, 0, -3, -4], [5, 6, 0, 0]]


def test_shuffle_by_hand():
    # Two of four weights are kept in each layer, so that six masks are possible; each keeps the weights it meets.
    base, seen = pair_base("magnitude", prune_at="initialisation"), set()
    for seed in range(40):
        session = pair_session(seed=seed)
        try:
            instantiate(PLUGINS.controls, "shuffle", {})(session, base)
        except Unsuitable as error:
            assert "left the masks of all 2 layers as they were" in str(error)
            continue
        (mask, _), (weights, _) = rows(session.masks), rows(session.model.state_dict())
        assert weights == [value * kept for value, kept in zip([1, -2, 3, -4], mask, strict=True)]
        seen.add(str(mask))
    assert len(seen) == 6


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_unsuitable_where_nothing_is_pruned(name):
    dense, _ = based(("magnitude", {"prune_at": "initialisation"}), sparsity=0.0)
    session = session_of(0.0)
    with pytest.raises(Unsuitable, match="the ticket prunes nothing"):
        instantiate(PLUGINS.controls, name, {})(session, dense)
    assert session.step == 0 and not session.account.ledger.events, "nothing is trained for that"


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_unsuitable_where_every_layer_is_whole_or_empty(name):
    found, _ = based(RESET)
    whole = {layer: torch.full_like(mask, layer != "fc2.weight") for layer, mask in found.ticket.masks.items()}
    with pytest.raises(Unsuitable, match="keeps every layer whole or not at all"):
        controlled(name, Base(found.pruner, dataclasses.replace(found.ticket, masks=whole)))


def test_invert_is_unsuitable_for_a_pruner_without_scores():
    found, _ = based(RESET)
    same = Base(lambda session: session.adopt(found.ticket.masks), found.ticket)
    with pytest.raises(Unsuitable, match="left the masks of all 3 layers as they were: the pruner keeps no highest"):
        controlled("invert", same)


def test_redraw_is_unsuitable_for_a_model_that_draws_nothing():
    with pytest.raises(Unsuitable, match=r"left the kept weights of all 2 layers as they were: .* for every seed"):
        instantiate(PLUGINS.controls, "redraw", {})(pair_session(), pair_base("magnitude", prune_at="initialisation"))


@pytest.mark.parametrize("name", ["aligned", "winning_signs"])
def test_controls_on_new_weights_are_unsuitable_for_a_model_that_draws_nothing(name):
    base = pair_base("magnitude", prune_at="initialisation")
    base = Base(base.pruner, dataclasses.replace(base.ticket, final=base.ticket.start))
    with pytest.raises(Unsuitable, match=r"left the kept weights of all 2 layers as they were: .* for every seed"):
        instantiate(PLUGINS.controls, name, {})(pair_session(), base)


def test_aligned_is_unsuitable_for_a_ticket_of_other_weights_than_the_dense_network_has():
    found, _ = based(("imp", {"rate": 0.5, "retraining": "learning_rate_rewinding"}))
    with pytest.raises(Unsuitable, match="from weights that the dense network does not have"):
        controlled("aligned", found)


def test_sign_is_unsuitable_for_weights_that_have_these_magnitudes():
    found, _ = based(RESET)
    sizes = {name: weight.detach().std(correction=0) for name, weight in session_of().weights.items()}
    constant = {name: size * found.ticket.start[name].sign() for name, size in sizes.items()}
    ticket = dataclasses.replace(found.ticket, start={**found.ticket.start, **constant})
    with pytest.raises(Unsuitable, match="have these magnitudes already"):
        controlled("sign", Base(found.pruner, ticket))


# ---- channels --------------------------------------------------------------------------------------------------------


def channel_base():
    """A ticket that keeps 6 of 12 and 5 of 8 channels, and one that was made as if by a pruner."""
    session = session_of()
    channels = {"fc1.weight": torch.arange(12) < 6, "fc2.weight": torch.arange(8) < 5}
    whole = structure(session.model, session.weights, session.input_shape)
    start = session.snapshot().state
    session.adopt(thin(whole, session.masks, channels), channels)
    session.train()
    session.finish()
    return Base(lambda session: None, Ticket(0, session.course.ticket.state, session.masks, start, channels))


@pytest.mark.parametrize("name", ["shuffle", "random_layerwise", "aligned"])
def test_of_a_ticket_of_channels_others_are_kept(name):
    base = channel_base()
    made = controlled(name, base)
    assert {layer: int(kept.sum()) for layer, kept in made.channels.items()} == {"fc1.weight": 6, "fc2.weight": 5}
    assert differ(made.channels, base.ticket.channels)
    assert (
        masks.kept(made.masks)
        == masks.kept(base.ticket.masks)
        == {"fc1.weight": 96, "fc2.weight": 30, "fc3.weight": 15}
    )
    kept = made.channels["fc1.weight"]
    assert made.masks["fc1.weight"][kept].all() and not made.masks["fc1.weight"][~kept].any()
    assert not made.masks["fc2.weight"][:, ~kept].any()
    assert not made.model.state_dict()["norm.weight"][~kept].any()


@pytest.mark.parametrize("name", ["redraw", "sign", "transfer", "winning_signs"])
def test_a_ticket_of_channels_keeps_them(name):
    base = channel_base()
    made = controlled(name, base)
    assert states_equal(made.channels, base.ticket.channels) and states_equal(made.masks, base.ticket.masks)
    assert not made.model.state_dict()["norm.bias"][~base.ticket.channels["fc1.weight"]].any()


# ---- tickets from elsewhere ------------------------------------------------------------------------------------------


def wider(seed):
    """The network for six classes; 16·12 + 12·8 + 8·6 = 336 prunable weights."""
    made = network(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made.fc3 = nn.Linear(8, 6)
    return made


def wide_session(sparsity=0.75, duration="30it", network=wider):
    recipe = dataclasses.replace(RECIPES["sgd"], duration=Duration(duration))
    return Session(Setup(network, examples(70), examples(20, 1), recipe, sparsity, 0))


@pytest.mark.parametrize("base", [RESET, LATE], ids=str)
def test_an_output_layer_for_other_classes_is_drawn_anew_and_meets_the_target(base):
    found, _ = based(base)
    session = wide_session()
    ticket = fitted(found.ticket, session)
    before = {layer: mask for layer, mask in found.ticket.masks.items() if layer != "fc3.weight"}
    assert all(torch.equal(ticket.masks[layer], mask) for layer, mask in before.items())
    assert sum(masks.kept(ticket.masks).values()) == kept_count(0.75, 336) == 84
    mine, fresh = wide_session().model.state_dict(), {"fc3.weight", "fc3.bias"}
    for name, value in ticket.start.items():
        assert torch.equal(value, mine[name] if name in fresh else found.ticket.start[name])
    instantiate(PLUGINS.controls, "transfer", {})(session, Base(found.pruner, ticket))
    session.finish()
    assert session.course.ticket.step == found.ticket.step and steps(session) == 30 - found.ticket.step
    for layer, mask in ticket.masks.items():
        assert torch.equal(session.course.ticket.state[layer], ticket.start[layer] * mask)


@pytest.mark.parametrize("name", CONTROLS[:4])
def test_every_control_of_a_ticket_takes_one_from_elsewhere(name):
    found, _ = based(RESET)
    session = wide_session()
    instantiate(PLUGINS.controls, name, {})(session, Base(found.pruner, fitted(found.ticket, session)))
    session.finish()
    assert sum(masks.kept(session.masks).values()) == 84


def test_a_ticket_that_fits_is_taken_as_it_is():
    found, _ = based(RESET)
    assert fitted(found.ticket, session_of()) is found.ticket


def test_the_target_must_leave_an_output_layer_its_share():
    session = wide_session()
    session.train()
    full = {**session.masks, "fc1.weight": torch.zeros(12, 16, dtype=torch.bool)}
    full["fc2.weight"] = torch.arange(96).view(8, 12) < 36  # 36 + 48 = 84 are kept
    ticket = Ticket(0, session.snapshot().state, full, session.snapshot().state)
    with pytest.raises(
        Unsuitable, match=r"leaves 42 weights to the output layer, which has 24 .* kept 48 of 48 .* keep"
    ):
        fitted(ticket, session_of())


def test_the_output_layer_of_a_ticket_of_channels_reads_the_same_channels():
    ticket = fitted(channel_base().ticket, session := wide_session())
    assert session.shapes["fc3.weight"] == (6, 8)
    assert ticket.masks["fc3.weight"].tolist() == [[True] * 5 + [False] * 3] * 6


def test_a_ticket_that_does_not_fit_is_refused_before_training():
    found, _ = based(RESET)

    def other(seed):
        made = network(seed)
        made.fc1 = nn.Linear(16, 10)
        return made

    session = wide_session(network=other)
    words = r"'fc1.weight' is 12×16 where it was found and 10×16 where it is trained; find it on images of 1×4×4"
    with pytest.raises(Unsuitable, match=words):
        fitted(found.ticket, session)
    assert session.step == 0


def test_a_ticket_from_a_step_that_training_does_not_reach_is_refused():
    found, _ = based(("imp", {"rate": 0.5, "rewind_to": "20it"}))
    with pytest.raises(Unsuitable, match="step 20, but here training ends at 20; let its pruner go back"):
        fitted(found.ticket, wide_session(duration="20it"))


# ---- as a suite asks for it ------------------------------------------------------------------------------------------

SUITE = """
title = "t"
models = ["lenet_300_100"]
datasets = ["digits"]
seeds = [0]
sparsities = [0.9]
recipe = "r"
{controls}

[recipes.r]
duration = "20it"
batch_size = 50
learning_rate = 0.1

[recipes.adam]
duration = "10it"
batch_size = 40
optimizer = "adam"
learning_rate = 0.001

[[pruners]]
name = "imp"
label = "IMP"
arguments = {{ rate = 0.7 }}
"""


def some_digits(classes, size):
    """Digits below a number, of 8×8 or padded to more pixels."""
    whole = PLUGINS.datasets["digits"]

    def read(split, root):
        import numpy as np

        images, labels = whole.read(split, root)
        more = size - 8
        return np.pad(images[labels < classes], ((0, 0), (0, 0), (0, more), (0, more))), labels[labels < classes]

    return dataclasses.replace(whole, classes=classes, validation=100, read=read)


@pytest.fixture
def plugins():
    made = load_plugins()
    for name, dataset in (("few", some_digits(5, 8)), ("large", some_digits(10, 12))):
        made.datasets.add(name, dataset, Provider("", "", "", ""))
    return made


def run_suite(tmp_path, plugins, controls):
    """The records of a suite with these controls, by label."""
    path = tmp_path / "t.toml"
    path.write_text(SUITE.format(controls=f"controls = [{controls}]"))
    planned = plan(read_suite(str(path), plugins)[1], plugins)
    site = dataclasses.replace(make_context(None, "cpu", Store(tmp_path / "store")), plugins=plugins)
    write_plan(tmp_path / "out", "t", planned)
    for item in planned:
        write_record(tmp_path / "out", run(identity("t", item), tmp_path / "out", site))
    return {f"{r['label']}@{r['experiment']['dataset']['name']}": r for r in read_documents(tmp_path / "out")}


def test_a_suite_transfers_tickets_between_data_sets_and_recipes(tmp_path, plugins):
    asked = '{ name = "transfer", found_on = "few" }, { name = "transfer", found_with = "adam" }, "transfer"'
    records = run_suite(tmp_path, plugins, asked + ', { name = "redraw", found_on = "few", found_with = "adam" }')
    assert {name: record["status"] for name, record in records.items()} == {
        "IMP@digits": "done",
        "IMP, transfer@digits": "done",
        "IMP, for its ticket@few": "done",
        "IMP, transfer (found on few)@digits": "done",
        "IMP, for its ticket (with adam)@digits": "done",
        "IMP, for its ticket (with adam)@few": "done",
        "IMP, transfer (found with adam)@digits": "done",
        "IMP, redraw (found on few with adam)@digits": "done",
    }, [record.get("error") for record in records.values()]
    size = 64 * 300 + 300 * 100 + 100 * 10
    assert {r["sparsity"]["kept"] for name, r in records.items() if name.endswith("@digits")} == {kept_count(0.9, size)}
    base, again = records["IMP@digits"], records["IMP, transfer@digits"]
    assert base["test"] == again["test"]
    layers = records["IMP, for its ticket@few"]["sparsity"]["layers"]
    moved = records["IMP, transfer (found on few)@digits"]["sparsity"]["layers"]
    assert all(moved[layer]["mask"] == layers[layer]["mask"] for layer in ("fc1.weight", "fc2.weight"))
    frame = results(tmp_path / "out")
    assert frame.groupby(["dataset", "method"])["key"].nunique().max() == 1, "no row mixes origins"


def test_a_ticket_that_cannot_fit_ends_in_a_sentence(tmp_path, plugins):
    records = run_suite(tmp_path, plugins, '{ name = "transfer", found_on = "large" }')
    error = records["IMP, transfer (found on large)@digits"]["error"]
    assert error["kind"] == "unsuitable"
    assert "'fc1.weight' is 300×144 where it was found and 300×64 where it is trained" in error["message"]


def test_what_does_not_fit_can_be_told_before_anything_starts(plugins):
    site = dataclasses.replace(make_context(None, "cpu"), plugins=plugins)
    recipe = Recipe(Duration("1it"), 10, 0.1)
    here = Experiment(
        Choice("digits"), Choice("lenet_300_100"), recipe, Choice("imp"), 0.9, 0, Choice("transfer"), origin=Origin()
    )
    (fault,) = origin_faults(dataclasses.replace(here, origin=Origin(Choice("large"))), site)
    assert "found on 'large', trained on 'digits', 'lenet_300_100': the ticket does not fit: 'fc1.weight' is" in fault
    assert preflight([dataclasses.replace(here, origin=Origin(Choice("large")))] * 2, site) == [fault]
    for origin in (None, Origin(Choice("few")), Origin(recipe=recipe)):
        assert not list(origin_faults(dataclasses.replace(here, origin=origin), site))


def test_names_that_stand_for_tickets_from_different_places_are_told_apart(tmp_path):
    here = Experiment(Choice("digits"), Choice("m"), RECIPES["sgd"], Choice("imp"), 0.9, 0, Choice("transfer"))
    for recipe in (RECIPES["adam"], RECIPES["adamw"]):
        item = Planned(dataclasses.replace(here, origin=Origin(recipe=recipe)), "found with r", "s", False)
        write_document(tmp_path, {**entry(item), "status": "failed", "error": {"kind": "lost", "message": ""}})
    assert results(tmp_path)["method"].nunique() == 2
