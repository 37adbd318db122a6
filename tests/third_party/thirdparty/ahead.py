"""A plugin that implements a hook which does not exist, after one that does."""

from lth_bench import hookimpl
from thirdparty.positive import Positive


@hookimpl
def register_pruners(register):
    register("ahead", Positive)


@hookimpl
def register_colours(register):
    register("red", "#f00")
