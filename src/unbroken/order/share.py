"""The share of a step batch that one of several processes trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some neighbouring micro-batches of what is left of a step batch.

    Shares begin where one process would begin a micro-batch, so that any number of processes cuts each
    step alike, as long as a full step has a micro-batch for each of them. With more processes
    micro-batches are smaller.
    """

    rank: int
    """Number of the process."""
    count: int
    """How many processes there are."""

    def of(self, begin: int, end: int, cut: int) -> tuple[int, int]:
        """Return the first sample of the share and the one after its last; it may have none.

        Args:
            begin: Samples of the step batch that are done.
            end: Samples that it has.
            cut: Samples of a micro-batch.
        """
        pieces = -(-(end - begin) // cut)
        first, last = (pieces * each // self.count for each in (self.rank, self.rank + 1))
        return min(end, begin + cut * first), min(end, begin + cut * last)

    def cut(self, size: int, whole: int) -> int:
        """Return the size of micro-batches, with which each process has one of a full step.

        Args:
            size: Most samples of a micro-batch.
            whole: Samples of a full step.
        """
        return max(1, min(size, -(-whole // self.count)))


WHOLE: Final = Share(rank=0, count=1)
"""The share of a process that trains alone."""
