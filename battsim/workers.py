"""Threads that wait for their next call awake for a moment, and only then asleep.

A compiled kernel takes tens of microseconds; waking a sleeping thread takes as long, and ten times that on a virtual
machine. A thread that waits here watches a number for about 0.1 ms before it sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

WATCHES = 100_000
"""Looks at a number before sleeping, about a nanosecond each."""
_LINE = 16
"""Elements that keep two numbers off one cache line."""


class Worker:
    """A thread that runs one call at a time; `begin` hands it over, `finish` waits for its end."""

    def __init__(self, name: str) -> None:
        self._begun, self._done = _Signal(), _Signal()
        self._calls = 0
        self._call: tuple[Callable[..., None], tuple[Any, ...]] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def begin(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function in the thread; the earlier call must have been finished."""
        self._call = function, arguments
        self._calls += 1
        self._begun.send(self._calls)

    def finish(self) -> None:
        """Return when the function has; raises what it raised."""
        self._done.wait(self._calls)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the thread, after the call under way."""
        self._call = None
        self._calls += 1
        self._begun.send(self._calls)
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while True:
            number += 1
            self._begun.wait(number)
            if self._call is None:
                return
            function, arguments = self._call
            try:
                function(*arguments)
            except BaseException as error:
                self._error = error
            del function, arguments
            self._done.send(number)


class _Signal:
    """A number that one thread sets and another waits for."""

    def __init__(self) -> None:
        self._number = np.zeros(_LINE, np.int64)
        self._asleep, self._event = False, threading.Event()

    def send(self, number: int) -> None:
        """Set the number, and wake who sleeps over it."""
        _set(self._number, number)
        if self._asleep:
            self._event.set()

    def wait(self, number: int) -> None:
        """Return when the number has been reached."""
        while not _reached(self._number, number, WATCHES):
            # in this order: a number sent in between is seen by the look after `_asleep`, or sets the event
            self._event.clear()
            self._asleep = True
            if not _reached(self._number, number, 1):
                self._event.wait()
            self._asleep = False


@intrinsic
def _load(typing: Any, numbers: Any) -> Any:  # noqa: ARG001 (the signature of an intrinsic)
    """First element, read anew at each call and before anything that follows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, ordering="acquire", align=8)

    return types.int64(numbers), generate


@intrinsic
def _store(typing: Any, numbers: Any, value: Any) -> Any:  # noqa: ARG001 (the signature of an intrinsic)
    """Write the first element after everything that came before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        number = context.cast(builder, arguments[1], signature.args[1], types.int64)
        builder.store_atomic(number, array.data, ordering="release", align=8)
        return context.get_dummy_value()

    return types.void(numbers, value), generate


@njit(cache=True, nogil=True)
def _reached(numbers: Any, wanted: int, looks: int) -> bool:
    """Whether the number is found at or beyond the wanted one within so many looks."""
    look: Any = _load  # numba finds the intrinsic; mypy its unbound form
    found = False
    for _ in range(looks):
        found = look(numbers) >= wanted
        if found:
            break
    return found


@njit(cache=True, nogil=True)
def _set(numbers: Any, value: int) -> None:
    """Set the number."""
    _store(numbers, value)  # type: ignore[call-arg]
