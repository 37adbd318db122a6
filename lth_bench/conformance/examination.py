"""The whole contract of a pruner, rule by rule."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lth_bench.conformance import rules
from lth_bench.conformance.overheard import overheard
from lth_bench.conformance.parameters import identity_faults, type_faults
from lth_bench.conformance.specimens import SPECIMENS
from lth_bench.conformance.trials import Bench, Trial
from lth_bench.conformance.variants import variants
from lth_bench.errors import UnknownName
from lth_bench.experiments.choices import choice
from lth_bench.experiments.plugins import Plugins

Look = Callable[[Bench], Iterator["Finding"]]
State = Literal["holds", "fails", "does not apply"]
RULES = {
    "identity": "parameters can be hashed and written as JSON, and their key does not depend on how they are written",
    "types": "parameters of a wrong type are refused",
    "networks": "it works on",
    "sparsity": "the sparsity asked for is met",
    "pattern": "a pattern is held exactly, or refused",
    "pruned": "what is pruned stays zero in every tick, in the ticket and at the end",
    "masks": "masks are boolean",
    "scoring": "scoring changes neither weights nor buffers",
    "noise": "global random states stay as they are",
    "clock": "all training and scoring is on record",
    "traces": "nothing is left on the network, on torch or on the Session",
    "same seed": "the same seed gives the same bits",
    "stored": "training that is looked up gives the same bits",
    "other seed": "another seed gives another result",
    "variant": "the same with",
}
PATTERN = "2:4"
OBSERVED = (
    "sparsity",
    "pruned",
    "masks",
    "scoring",
    "noise",
    "clock",
    "traces",
)  # rules for every trial
RESULTS = {"sparsity": rules.sparsity, "pruned": rules.pruned, "clock": rules.clock}  # rules that need a result


@dataclass(frozen=True)
class Finding:
    """Whether a rule holds; `what` names the network or variant where the rule is checked for several."""

    rule: str
    state: State
    reason: str = ""
    what: str = ""

    @property
    def words(self) -> str:
        return f"{RULES[self.rule]} {self.what}".rstrip()


def check(
    plugins: Plugins, name: str, arguments: Mapping[str, Any], sparsity: float | None = None
) -> Iterator[Finding]:
    """Tries a pruner, with these parameters, on every rule. Raises UnknownName, and ValueError for bad parameters.

    Without a `sparsity`, every network has one of its own.
    """
    return _examined(plugins, name, dict(arguments), _at(sparsity, _tried))


def glance(
    plugins: Plugins, name: str, arguments: Mapping[str, Any], sparsity: float | None = None
) -> Iterator[Finding]:
    """Like `check`, but on the first network that suits the pruner, without another seed and without a store."""
    return _examined(plugins, name, dict(arguments), _at(sparsity, _glanced_at))


def check_variants(
    plugins: Plugins, name: str, arguments: Mapping[str, Any], sparsity: float | None = None
) -> Iterator[Finding]:
    """A finding for every other value of each choice and switch that the arguments leave at its default."""
    for variant in variants(plugins.pruners[name]):
        if not variant or set(variant) & set(arguments):
            continue
        words = ", ".join(f"{key}={value}" for key, value in variant.items())
        try:
            finding = summary(list(glance(plugins, name, {**arguments, **variant}, sparsity)))
        except ValueError as error:
            finding = Finding("variant", "does not apply", str(error))
        yield dataclasses.replace(finding, what=words)


def summary(findings: list[Finding]) -> Finding:
    """One finding that sums up several."""
    broken = [finding for finding in findings if finding.state == "fails"]
    if broken:
        return Finding("variant", "fails", "; ".join(f"{finding.words}: {finding.reason}" for finding in broken))
    networks = [finding for finding in findings if finding.rule == "networks"]
    unsuited = all(finding.state == "does not apply" for finding in networks)
    return Finding("variant", "does not apply", networks[0].reason) if unsuited else Finding("variant", "holds")


def _at(sparsity: float | None, look: Look) -> Look:
    """The same look at a bench on which every network is pruned to this sparsity. Raises ValueError outside [0, 1)."""
    if sparsity is not None and not 0 <= sparsity < 1:
        raise ValueError(f"a sparsity lies in [0, 1), not {sparsity}")
    return lambda bench: look(dataclasses.replace(bench, sparsity=sparsity))


def _examined(plugins: Plugins, name: str, arguments: dict[str, Any], look: Look) -> Iterator[Finding]:
    try:
        with overheard():
            pruner = choice(plugins.pruners, name, arguments)
    except (UnknownName, ValueError):
        raise
    except Exception as error:
        first, *_ = str(error).splitlines()
        yield _finding("identity", f"its types cannot be read ({first}); import what they name outside TYPE_CHECKING")
        return
    with overheard():
        faults = {
            "identity": list(identity_faults(plugins.pruners, name, arguments)),
            "types": list(type_faults(plugins.pruners, name, arguments)),
        }
    for rule, sentences in faults.items():
        yield _finding(rule, "; ".join(sentences))
    with tempfile.TemporaryDirectory() as folder:
        yield from look(Bench(plugins, pruner, Path(folder)))


def _tried(bench: Bench) -> Iterator[Finding]:
    bench, trials = _suited(bench, [{"sparsity": 0.0}, {"pattern": PATTERN}], len(SPECIMENS))
    yield from map(_about_network, trials)
    if all(trial.unsuitable for trial in trials):
        yield Finding("networks", "fails", "it can be used on none of these", "any network")
    for rule in OBSERVED:
        yield _about_trials(rule, trials)
    first = next((trial for trial in trials if not trial.failure), None)
    yield _about_pattern(bench, first)
    yield from _about_seeds(bench, first)


def _glanced_at(bench: Bench) -> Iterator[Finding]:
    bench, trials = _suited(bench, [{"pattern": PATTERN}], 1)
    trial = trials[-1]
    yield _about_network(trial)
    for rule in OBSERVED:
        yield _about_trials(rule, [trial])
    if not trial.failure:
        yield _finding("same seed", rules.same(trial, bench.repeated(trial.specimen, "again")))


def _suited(bench: Bench, changes: list[dict[str, Any]], enough: int) -> tuple[Bench, list[Trial]]:
    """The bench and its trials, until `enough` networks suit the pruner.

    Where none does, and no sparsity was asked for, the bench with the first of the changes under which one does.
    """
    own = _trials(bench, enough)
    if bench.sparsity is not None or any(not trial.unsuitable for trial in own):
        return bench, own
    for changed in (dataclasses.replace(bench, **change) for change in changes):
        trials = _trials(changed, enough)
        if any(not trial.unsuitable for trial in trials):
            return changed, trials
    return bench, own


def _trials(bench: Bench, enough: int) -> list[Trial]:
    trials: list[Trial] = []
    for specimen in SPECIMENS:
        trials.append(bench.trial(specimen))
        if sum(not trial.unsuitable for trial in trials) == enough:
            break
    return trials


def _about_network(trial: Trial) -> Finding:
    if trial.unsuitable:
        return Finding("networks", "does not apply", trial.unsuitable, trial.specimen.words)
    return _finding("networks", trial.failure, trial.specimen.words)


def _about_trials(rule: str, trials: list[Trial]) -> Finding:
    """The finding on a rule; the first trial that breaks it decides."""
    for trial in trials:
        if rule == "sparsity" and (reason := (trial.record.notes or {}).get("off_target")):
            return Finding(rule, "does not apply", str(reason))
        fault = trial.watcher.faults.get(rule)
        if fault is None and not trial.failure and rule in RESULTS:
            fault = RESULTS[rule](trial)
        if fault:
            return Finding(rule, "fails", f"{fault} ({trial.specimen.words})")
    return _untried(rule) if all(trial.failure for trial in trials) else Finding(rule, "holds")


def _about_pattern(bench: Bench, first: Trial | None) -> Finding:
    """The finding on a pattern, on the network of the first trial that has a result."""
    if first is None:
        return _untried("pattern")
    trial = dataclasses.replace(bench, pattern=PATTERN).trial(first.specimen)
    if trial.unsuitable:
        return Finding("pattern", "does not apply", trial.unsuitable)
    return _finding("pattern", trial.failure or rules.pattern(trial))


def _about_seeds(bench: Bench, first: Trial | None) -> Iterator[Finding]:
    if first is None:
        yield from map(_untried, ("same seed", "stored", "other seed"))
        return
    specimen = first.specimen
    again, looked_up = (bench.repeated(specimen, folder) for folder in ("again", "looked up"))
    yield _finding("same seed", rules.same(first, again))
    yield _finding("stored", again.failure or rules.same(again, looked_up))
    yield _finding("other seed", rules.other(first, bench.trial(specimen, seed=1)))


def _finding(rule: str, fault: str | None, what: str = "") -> Finding:
    return Finding(rule, "fails" if fault else "holds", fault or "", what)


def _untried(rule: str) -> Finding:
    return Finding(rule, "does not apply", "there is no result")
