"""Records as they lie on disk, dicts of JSON, so that a test may make of them what no run would write."""

from __future__ import annotations

from lth_bench.storage.files import publish_new
from lth_bench.storage.record import builtins, identity
from lth_bench.storage.records import record_path, record_paths
from lth_bench.storage.sealed import read_json, sealed

SPARSITY = {"asked": 0.5, "effective": None, "prunable": 0, "kept": 0, "mask": 0, "layers": {}, "collapsed": []}
CURVE = ("step", "kept", "training_loss", "validation_loss", "validation_accuracy")
EVENT = {"kind": "train", "step": 0, "steps": 0, "examples": 0, "kept": []}
ENVIRONMENT = {
    **{"python": "3", "lth-bench": "1", "torch": "2", "timm": "1", "numpy": "2", "system": "Linux", "device": "cpu"},
    **{"threads": 1, "processors": 1, "plugins": {}},
}
TIMING = {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0}


def entry(item, suite="made"):
    """The fields of a record that are known before its experiment runs."""
    return builtins(identity(suite, item))


def read_documents(directory):
    return [read_json(path) for path in record_paths(directory)]


def write_document(directory, document):
    """Publishes a record; where it leaves out what records have, and no test cares for, that is filled in."""
    return publish_new(record_path(directory, document["key"]), sealed(whole(document)))


def whole(document):
    """A record with all that its type asks for."""
    fillings = {
        "sparsity": lambda found: {**SPARSITY, **found, "layers": {n: layer(c) for n, c in layers(found).items()}},
        "test": lambda found: {"best_validation": None, "early_stop": None, **found},
        "events": lambda found: [{**EVENT, **event} for event in found],
        "curve": lambda found: {name: found.get(name) or [0] * len(found["step"]) for name in CURVE},
        "environment": lambda found: {**ENVIRONMENT, **found},
        "timing": lambda found: {**TIMING, **found},
        "ticket": lambda found: {"step": 0, **found},
    }
    return {name: fillings[name](value) if name in fillings else value for name, value in document.items()}


def layers(sparsity):
    return sparsity.get("layers", {})


def layer(counts):
    return {"size": counts["kept"], "mask": counts["kept"], **counts}
