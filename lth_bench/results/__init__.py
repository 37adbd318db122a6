"""From records to numbers: rows, costs, statistics, leaderboards, verdicts."""

import sys
from types import ModuleType
from typing import Any


class _Results(ModuleType):
    """This package; called, it is the public function of the same name: `lth_bench.results(DIR)`."""

    def __call__(self, *directories: Any, **options: Any) -> Any:
        from lth_bench.results.by_experiment import results

        return results(*directories, **options)


sys.modules[__name__].__class__ = _Results
