"""A plugin whose second pruner is no dataclass."""

from lth_bench import hookimpl
from thirdparty.positive import Positive


@hookimpl
def register_pruners(register):
    register("first", Positive)
    register("second", lambda session: None)
