"""What a worker does: runs members one after the other, each from where it stands on disk."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from distributed import WorkerPlugin, get_worker

from battsim.case import Case, FullCellCase, ResolvedCase, load_case
from battsim.errors import BattsimError, CheckpointError
from battsim.output.checkpoint import Checkpoint
from battsim.output.record import clear, read_json, write_json
from battsim.run import built_cell, find_checkpoint, run_case
from battsim.run.resolved import BuiltCell
from battsim.run.sinks import Report
from battsim.sweep.members import (
    RESULTS,
    BusyError,
    Standing,
    begun,
    ended,
    late_tries,
    locked,
    put_standing,
    standing_of,
    told_of,
)
from meshing.errors import ImageError, MeshError

CACHE = "cache"
RunCase = Callable[..., dict[str, Any]]
"""`battsim.run.run_case`, or what stands for it in tests of the engine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker left a member.

    Attributes
    ----------
    state
        Busy: another process works on it. Unseen: this machine does not see its directory.
    worker
        Where this happened.
    """

    member: str
    state: Literal["done", "failed", "busy", "unseen"]
    error: str | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for every member: tries before one is given up, threads of each, limits in words, and what runs it."""

    tries: int
    threads: int = 1
    time: str = ""
    memory: str = ""
    run: RunCase = run_case


class Kept:
    """The cell of the member before, for members that share its mesh; at most one, as it takes memory."""

    def __init__(self) -> None:
        self._stack, self._shares = ExitStack(), ""
        self._built: BuiltCell | None = None

    def built(self, case: Case, shares: str | None, cache: Path, report: Report) -> BuiltCell | None:
        """What the case shares with others, from the member before or built anew; None where it shares nothing.

        Parameters
        ----------
        shares
            Hash of what decides about it.
        cache
            Folder of what was measured on images, by any worker. Raises as `built_cell`.
        """
        if shares is None or not isinstance(case, ResolvedCase | FullCellCase):
            self.drop()
            return None
        if self._built is None or shares != self._shares:
            self.drop()  # before the next takes its memory
            file = cache / f"{shares}.json"
            measured = read_json(file)  # by a member before
            self._built = self._stack.enter_context(built_cell(case, report, measured))
            self._shares = shares
            if measured is None:
                cache.mkdir(exist_ok=True)
                write_json(file, self._built.measured)
        return self._built

    def drop(self) -> None:
        """Lets go of it."""
        self._built = None
        self._stack.close()


class Keeper(WorkerPlugin):
    """Holds what a worker process keeps between its members."""

    name = "battsim-members"

    def setup(self, worker: Any) -> None:  # noqa: ARG002 (the signature of a plugin)
        """Begins empty."""
        self.kept = Kept()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Lets go of all."""
        self.kept.drop()


def run_batch(directories: Sequence[str], orders: Orders) -> list[Outcome]:
    """Runs members in turn, in a worker that has a `Keeper`."""
    worker = get_worker()
    keeper = worker.plugins[Keeper.name]
    assert isinstance(keeper, Keeper)
    return [run_member(Path(directory), orders, keeper.kept, str(worker.address)) for directory in directories]


def run_member(directory: Path, orders: Orders, kept: Kept, worker: str = "") -> Outcome:
    """Runs a member from where it stands: done ones are left alone, interrupted ones go on from their checkpoint.

    Whatever a member raises is its own failure, and is not tried again: it would be raised again. A member whose
    process died, or was stopped because the member exceeded its time, is tried again until its tries are used up.
    """
    if not directory.is_dir():
        return Outcome(directory.name, "unseen", None, worker)
    try:
        with locked(directory):
            error = _run_locked(directory, orders, kept, worker)
    except BusyError:
        return Outcome(directory.name, "busy", None, worker)
    except Exception as unwritten:  # the disk may be too full even for the state
        error = message_of(unwritten)
    return Outcome(directory.name, "done" if error is None else "failed", error, worker)


def _run_locked(directory: Path, orders: Orders, kept: Kept, worker: str) -> str | None:
    """Message of what the member failed with; None where it is done."""
    was = standing_of(directory)
    if was.state in ("done", "failed"):
        return was.error
    if was.tries >= orders.tries:
        error = given_up(directory, was, orders)
        put_standing(directory, ended(was, error))
        return error
    now = begun(was, worker)
    put_standing(directory, now)
    try:
        _compute(directory, orders, kept)
    except Exception as failure:
        kept.drop()  # it may have been left in the middle of something
        _log_unexpected(directory, failure)
        error = message_of(failure)
        put_standing(directory, ended(now, error))
        return error
    put_standing(directory, ended(now))
    return None


def _compute(directory: Path, orders: Orders, kept: Kept) -> None:
    """One member through `run_case`, its progress in its run.log."""
    case = load_case(directory, allow_outside=True)  # its files are those of the sweep's case, checked there
    case = _with_threads(case, orders.threads)
    results = directory / RESULTS
    checkpoint, notes = _to_go_on_from(case, results)
    results.mkdir(exist_ok=True)
    with (results / "run.log").open("a", encoding="utf-8") as log:

        def report(share: float, message: str) -> None:
            _log(log, share, message)

        for note in notes:
            report(0.0, f"warning: {note}")
        built = kept.built(case, told_of(directory).get("shares"), directory.parent / CACHE, report)
        orders.run(case, results=results, progress=report, checkpoint=checkpoint, built=built)


def _with_threads(case: Case, threads: int) -> Case:
    """The case with the threads of a worker; they change nothing but its speed."""
    solver = getattr(case, "solver", None)
    if solver is None:
        return case
    return case.model_copy(update={"solver": solver.model_copy(update={"threads": threads})})


def _to_go_on_from(case: Case, results: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The checkpoint of a try before, and notes on it; where there is none that can be used, room for a new run."""
    notes: tuple[str, ...] = ()
    try:
        found = find_checkpoint(case, results)
        if found.checkpoint is not None:
            return found.checkpoint, found.notes
    except CheckpointError as error:  # of another version: the hash of the inputs has that apart
        notes = (f"{error}; the run starts anew",)
    if results.is_dir():
        clear(results)
    return None, notes


def given_up(directory: Path, was: Standing, orders: Orders) -> str:
    """What to say of a member whose tries are used up."""
    late = sum(1 <= number <= was.tries for number in late_tries(directory))
    died = was.tries - late
    parts = []
    if late:
        parts.append(f"exceeded the time limit of {orders.time} in {late} of {was.tries} tries")
    if died:
        memory = f", as one that needs more than {orders.memory} is" if orders.memory else ""
        parts.append(f"ended its process in {died} of {was.tries} tries (a crash, or it was killed{memory})")
    return f"{' and '.join(parts)}; {directory / RESULTS / 'run.log'} says how far it came"


def message_of(error: BaseException) -> str:
    """What to say of a member that failed."""
    match error:
        case BattsimError() | ImageError() | MeshError():
            return str(error)
        case MemoryError():
            return (
                f"out of memory ({error or 'the system gave no more'}); crop or coarsen the image, or use fewer workers"
            )
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"no space left on the disk for {error.filename or 'its results'}; free some, then --resume"
        case _:
            return f"{type(error).__name__}: {error}; its run.log has the traceback"


def _log_unexpected(directory: Path, error: BaseException) -> None:
    """The traceback of what is neither bad input nor a limit of the machine, into the member's log."""
    if isinstance(error, BattsimError | ImageError | MeshError):
        return
    with suppress(OSError), (directory / RESULTS / "run.log").open("a", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))


def _log(log: TextIO, share: float, message: str) -> None:
    log.write(f"{share:7.2%}  {message}\n")
    log.flush()
