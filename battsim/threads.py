"""A few threads that share the planes of a grid or the rows of a matrix.

The compiled kernels release the interpreter's lock and take the range that they work on as their first two arguments.
No result depends on the number of threads: ranges are independent of each other, and sums are kept per plane or row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from battsim.workers import Worker

T = TypeVar("T")

SMALLEST_SHARE = 20_000
"""Elements below which handing work to another thread costs more than it saves (about 30 us)."""
PART = 65_536
"""Elements of an array that one call of a numpy function works on: few enough for a cache, many enough for the call."""


class Team:
    """Threads that run one kernel on parts of a range; use it in a `with` statement."""

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads = {threads}; at least 1 is needed")
        self.threads = threads
        self._workers: list[Worker] = []
        if threads > 1:
            from battsim.workers import Worker  # imported here: it loads numba

            self._workers = [Worker(f"battsim {k}") for k in range(1, threads)]

    def __enter__(self) -> Team:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def run(self, kernel: Callable[..., None], count: int, size: int, *arguments: Any) -> None:
        """Call `kernel(start, stop, *arguments)` on parts of range(count) that hold `size` elements together."""
        parts = min(len(self._workers) + 1, count, max(1, size // SMALLEST_SHARE))
        if parts < 2:
            kernel(0, count, *arguments)
            return
        bounds = [count * part // parts for part in range(parts + 1)]
        others = self._workers[: parts - 1]
        for worker, start, stop in zip(others, bounds[1:-1], bounds[2:], strict=True):
            worker.begin(kernel, start, stop, *arguments)
        _finish(others, lambda: kernel(bounds[0], bounds[1], *arguments))

    def map(self, function: Callable[[slice], T], size: int) -> list[T]:
        """What `function` returns for each part of range(size), in order; the parts do not depend on the threads.

        For functions that spend their time in numpy, which releases the interpreter's lock.
        """
        parts = [slice(start, min(start + PART, size)) for start in range(0, max(size, 1), PART)]
        if not self._workers or len(parts) == 1:
            return [function(part) for part in parts]
        results: list[Any] = [None] * len(parts)
        numbers = count()  # next() of it is one step of the interpreter: no two threads get the same number

        def work() -> None:
            while (k := next(numbers)) < len(parts):
                results[k] = function(parts[k])

        others = self._workers[: len(parts) - 1]
        for worker in others:
            worker.begin(work)
        _finish(others, work)
        return results


def _finish(workers: Sequence[Worker], own: Callable[[], None]) -> None:
    """Do the caller's own part and wait for all others, whatever becomes of any; raise the first error."""
    errors = []
    for part in (own, *(worker.finish for worker in workers)):
        try:
            part()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]


def joined(parts: Sequence[T]) -> T:
    """One dataclass of arrays from those of consecutive parts."""
    if len(parts) == 1:
        return parts[0]
    names = [each.name for each in fields(parts[0])]  # type: ignore[arg-type]
    return type(parts[0])(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


ALONE = Team(1)
"""The calling thread and nobody else."""
