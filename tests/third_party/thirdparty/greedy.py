"""A plugin that takes a name which is taken."""

from lth_bench import hookimpl
from thirdparty.positive import Positive


@hookimpl
def register_pruners(register):
    register("imp", Positive)
