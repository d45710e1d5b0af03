"""Ctrl-C and SIGTERM while a run goes on: it ends where it can be gone on from, not in the middle of anything.

An exception that a signal handler raises comes up wherever the interpreter happens to be: in an import it becomes an
ImportError, in a destructor it is lost, and in a compiler's callback it takes the process down. So a signal is noted,
and the run ends at its next report, which each of its steps makes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from battsim.cli.guard import TERMINATED, Terminated
from battsim.cli.show import Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable(shown: AbstractContextManager[Progress]) -> Iterator[Progress]:
    """Receives how far a run is, shows it, and ends the run there once a signal has come, as `ended_by_signals`."""
    with shown as show, ended_by_signals() as end_if_asked:

        def report(share: float, message: str) -> None:
            show(share, message)
            end_if_asked()

        yield report


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """A check that raises KeyboardInterrupt or Terminated once a signal has come; the second signal raises at once."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if asked:
            raise _exception(number)
        asked.append(number)
        # a handler must not print: it may have come in the middle of a print
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"ends after this step; once more: at once\n")

    def check() -> None:
        if asked:
            raise _exception(asked[0])

    previous = {}
    if threading.current_thread() is threading.main_thread():  # Python lets no other thread receive signals
        previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, note)
    try:
        yield check
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(TERMINATED)
