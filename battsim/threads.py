"""A few threads that share the planes of a grid or the rows of a matrix.

The compiled kernels release the interpreter's lock and take the range that they work on as their first two arguments.
No result depends on the number of threads: ranges are independent of each other, and sums are kept per plane or row.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

SMALLEST_SHARE = 20_000
"""Elements below which handing work to another thread costs more than it saves (about 30 us)."""


class Team:
    """Threads that run one kernel on parts of a range; use it in a `with` statement."""

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads = {threads}; at least 1 is needed")
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "battsim") if threads > 1 else None

    def __enter__(self) -> Team:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, kernel: Callable[..., None], count: int, size: int, *arguments: Any) -> None:
        """Call `kernel(start, stop, *arguments)` on parts of range(count) that hold `size` elements together."""
        parts = min(self.threads, count, max(1, size // SMALLEST_SHARE))
        if self._pool is None or parts < 2:
            kernel(0, count, *arguments)
            return
        bounds = [count * part // parts for part in range(parts + 1)]
        others = [self._pool.submit(kernel, bounds[k], bounds[k + 1], *arguments) for k in range(1, parts)]
        kernel(bounds[0], bounds[1], *arguments)
        for other in others:
            other.result()
