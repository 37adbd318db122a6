"""Everything that the project raises on purpose."""

from __future__ import annotations


class FileFault(Exception):
    """A file that cannot be used; the sentence names it."""


class Damaged(FileFault):
    """A file whose content is not what was written; of no use to anybody."""


class DiskFault(FileFault):
    """A file that cannot be written, on a full disk for instance; nothing that was there before is harmed."""


class SessionError(RuntimeError):
    """A Session used in a way that has no meaning."""


class Diverged(Exception):
    """Training reached a loss or a weight that is not finite."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")
        self.step, self.what = step, what


class Unsuitable(ValueError):
    """A network, data set or target that a method cannot be used on; says why, and what to do instead."""


class Interrupted(BaseException):
    """The harness has to end this Session now; not an Exception, so that a pruner's own handling lets it pass."""


class MaskError(ValueError):
    """Scores, masks or targets that do not fit the network."""


class ModelError(ValueError):
    """A model that timm does not know or cannot make from these arguments."""


class DataError(Exception):
    """A data set that is absent or cannot be read; the sentence says where it was looked for."""


class UnknownName(LookupError):
    """A name that no plugin has registered."""


class Busy(Interrupted):
    """Another worker computes this segment now."""

    def __init__(self, key: str) -> None:
        super().__init__(f"segment {key} is being computed by another worker")
        self.key = key


class Stopped(Interrupted):
    """The sweep was asked to stop; what was computed of the segment is in a checkpoint."""


class SuiteError(Exception):
    """A suite that cannot be run; `faults` names every fault with its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
