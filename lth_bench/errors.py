"""The errors that the project raises on purpose."""

from __future__ import annotations


class FileFault(Exception):
    """A file that cannot be used; the sentence names it."""


class Damaged(FileFault):
    """A file whose content is not what was written."""


class DiskFault(FileFault):
    """A file that cannot be written, on a full disk for instance; files that were there before are intact."""


class SessionError(RuntimeError):
    """A call that has no meaning at this point of a Session."""


class Diverged(Exception):
    """Training reached a loss or a weight that is not finite; `what` says which, at which `step`."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")
        self.step, self.what = step, what


class Unsuitable(ValueError):
    """A network, data set or target that a method cannot be used on; the sentence says why and what to do instead."""


class Interrupted(BaseException):
    """The harness ends this Session now; a BaseException, so that a pruner's `except Exception` does not catch it."""


class MaskError(ValueError):
    """Scores, masks or targets that do not fit the network."""


class ModelError(ValueError):
    """A model that timm does not know or cannot make from these arguments."""


class DataError(Exception):
    """A data set that is absent or cannot be read; the sentence says where the harness looked for it."""


class UnknownName(LookupError):
    """A name that no plugin has registered."""


class Busy(Interrupted):
    """Another worker computes the segment `key` now."""

    def __init__(self, key: str) -> None:
        super().__init__(f"segment {key} is being computed by another worker")
        self.key = key


class Stopped(Interrupted):
    """The sweep was asked to stop; a checkpoint holds the segment as far as it was computed."""


class SuiteError(Exception):
    """A suite that cannot be run; `faults` has a sentence for every fault, with its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
