"""Runs the members of a sweep on a cluster of dask.distributed: a local one, or one that is there already.

The file system is the truth: what travels to a worker is the paths of directories, and what a member has come to is
read from its directory. So any death, of a worker, of the scheduler or of this process, costs the tries under way, and
running the sweep again goes on.
"""

from __future__ import annotations

import gc
import logging
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from battsim.errors import ResourceError
from battsim.run import run_case
from battsim.run.sinks import Report
from battsim.sweep.members import (
    LATE_FILE,
    BusyError,
    Member,
    Standing,
    ended,
    locked,
    put_late,
    put_standing,
    standing_of,
    write_member,
)
from battsim.sweep.plan import Limits
from battsim.sweep.worker import Keeper, Orders, Outcome, RunCase, run_batch

if TYPE_CHECKING:
    from distributed import Client, Future

POLL = 0.25
"""Time between two looks at the workers, s."""
LOOKS = 1.0
"""Time between two questions to the scheduler, s."""
PATIENCE = 300.0
"""Time to wait for a first worker, or for another one after all are lost, s."""
CONNECT = 15.0
"""Time for a scheduler to answer, s."""
ANSWER = 60.0
"""Time for a scheduler that is there to answer a question, s."""
ANSWER_OF_TASK = 5.0
"""Time for the answer of a task that is done, s."""
AGAIN = 1.0
"""Time after which a member that another process works on is looked at again, s."""
PARTS = 4
"""A group of members that share a mesh is split where there would be fewer batches than this for each worker."""
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


More = Callable[[Mapping[str, Outcome], int], Sequence[Member]]


def no_more(_outcomes: Mapping[str, Outcome], _workers: int) -> Sequence[Member]:
    """Nothing beside the members that are there from the start."""
    return ()


@dataclass(frozen=True, slots=True)
class Workers:
    """Where members run: so many processes here, or those of a scheduler (its address, or its file)."""

    count: int = 1
    scheduler: str | None = None


def run_members(
    members: Sequence[Member],
    runs: Path,
    limits: Limits,
    workers: Workers,
    report: Report,
    run: RunCase = run_case,
) -> dict[str, Outcome]:
    """Runs what is not done of the members, and says how each was left.

    Parameters
    ----------
    runs
        Folder of their directories, which `prepare` has made.
    run
        What runs a case.

    Raises
    ------
    ResourceError
        Where the scheduler cannot be reached or is lost, or no worker comes.
    """
    with connected(workers, limits) as client:
        return run_on(client, members, runs, limits, report, run)


def run_on(
    client: Client,
    members: Sequence[Member],
    runs: Path,
    limits: Limits,
    report: Report,
    run: RunCase = run_case,
    more: More = no_more,
) -> dict[str, Outcome]:
    """The same on a cluster that a client is connected to. Raises as `run_members`.

    Parameters
    ----------
    more
        Asked again and again for further members, which `prepare` has made, from how those so far were left and the
        number of workers; all is done once nothing is under way and it has none.
    """
    return _Engine(client, runs, limits, report, run, more).run(members)


def prepare(members: Sequence[Member], runs: Path) -> None:
    """Makes the directories of the members; those that failed or were interrupted have all their tries again."""
    runs.mkdir(exist_ok=True)
    for member in members:
        directory = runs / member.key
        directory.mkdir(exist_ok=True)
        with suppress(BusyError), locked(directory):  # a worker of a sweep before this one may still be at it
            write_member(runs, member)
            if standing_of(directory).state != "done":
                put_standing(directory, Standing("pending"))
                (directory / LATE_FILE).unlink(missing_ok=True)


def batches(members: Sequence[Member], workers: int) -> list[list[Member]]:
    """Members that share a mesh together, as far as that leaves enough batches for all workers."""
    longest = max(1, len(members) // (PARTS * max(workers, 1)))
    found: list[list[Member]] = []
    for member in members:
        last = found[-1] if found else []
        if last and member.shares is not None and last[-1].shares == member.shares and len(last) < longest:
            last.append(member)
        else:
            found.append([member])
    return found


# the cluster


@contextmanager
def connected(workers: Workers, limits: Limits) -> Iterator[Client]:
    """A client of a local cluster that lives as long as the block, or of one that is there already.

    Raises
    ------
    ResourceError
        Where no scheduler answers.
    """
    import dask
    from distributed import Client, LocalCluster

    environment = dict.fromkeys(ONE_THREAD, "1") | {"DASK_LOGGING__DISTRIBUTED": "critical"}
    settings = {
        "distributed.scheduler.allowed-failures": 1_000_000,  # tries are counted here, per member
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.comm.timeouts.connect": f"{CONNECT:g}s",
        "distributed.admin.tick.limit": "1h",
        # a nanny whose worker takes longer to start again than this would be closed for good
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    with dask.config.set(settings), _quiet():
        if workers.scheduler is not None:
            with _client_of(workers.scheduler) as client:
                yield client
            return
        with ExitStack() as stack:
            with _without_interrupts():
                cluster = LocalCluster(
                    n_workers=workers.count,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # a port that is free, and not open to others
                    memory_limit="auto" if limits.memory is None else int(limits.memory),
                    silence_logs=logging.CRITICAL,
                )
                stack.enter_context(cluster)
            yield stack.enter_context(Client(cluster, timeout=CONNECT, set_as_default=False))


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Threads and processes that are started in the block leave Ctrl-C, which reaches them too, to this one.

    They inherit that the signal is blocked, and so do processes that these threads start later.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would unblock it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _client_of(scheduler: str) -> Client:
    """A client of a scheduler that is there already, by its address or its file."""
    from distributed import Client

    file = Path(scheduler)
    by_file = "://" not in scheduler and (file.suffix == ".json" or file.exists())
    where = {"scheduler_file": str(file)} if by_file else {"address": scheduler}
    if by_file and not file.is_file():
        raise ResourceError(f"--scheduler {scheduler}: there is no such scheduler file; {_HOW}")
    try:
        return Client(**where, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
    # What is left of a client that was not made closes itself where it is collected. In the thread that the next client
    # starts, this would wait for ever for a lock that the one who starts it holds: so here, with no error to keep it.
    gc.collect()
    raise ResourceError(f"--scheduler {scheduler}: no scheduler answers there ({told}); {_HOW}")


_HOW = (
    "start one with dask scheduler --scheduler-file FILE and workers with dask worker --scheduler-file FILE "
    "--nthreads 1, or leave --scheduler out and let --workers N run here"
)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the cluster's own messages from the terminal: what matters to the user is said in other words."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


# the engine


@dataclass(slots=True)
class _Engine:
    """The members that are under way, and how the others were left."""

    client: Client
    runs: Path
    limits: Limits
    report: Report
    run_case: RunCase
    more: More
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    under_way: dict[str, tuple[Future[Any], list[Member]]] = field(default_factory=dict)
    again: list[tuple[float, list[Member]]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[str, int], float] = field(default_factory=dict)
    stopped: set[tuple[str, int]] = field(default_factory=set)
    ended: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    alone_since: float = field(default_factory=time.monotonic)
    number: int = 0
    total: int = 0

    def run(self, members: Sequence[Member]) -> dict[str, Outcome]:
        """Submits, watches, and returns when every member is done or failed."""
        self.total, looked = len(members), 0.0
        with _lost_is_resources():
            self.client.register_plugin(Keeper())
            for batch in batches(members, len(self._workers())):
                self._submit(batch)
            self._ask_for_more()
            while self.under_way or self.again:
                self._collect()
                now = time.monotonic()
                for at, batch in [entry for entry in self.again if entry[0] <= now]:
                    self.again.remove((at, batch))
                    self._submit(batch)
                if now - looked >= LOOKS:
                    looked = now
                    self._look(now)
                self._ask_for_more()
        return self.outcomes

    def _ask_for_more(self) -> None:
        """Members that are to be run as well, one by one."""
        for member in self.more(self.outcomes, max(1, len(self._workers()))):
            self.total += 1
            self._submit([member])

    def _submit(self, batch: list[Member]) -> None:
        self.number += 1
        orders = Orders(
            tries=self.limits.tries,
            time=_duration(self.limits.time),
            memory="" if self.limits.memory is None else f"{self.limits.memory / 2**30:.3g} GiB",
            run=self.run_case,
        )
        paths = [str((self.runs / member.key).resolve()) for member in batch]
        key = f"member-{batch[0].key}-{self.number}"
        future = self.client.submit(run_batch, paths, orders, key=key, pure=False)
        self.under_way[key] = (future, batch)
        future.add_done_callback(lambda found: self.ended.put(found.key))

    def _collect(self) -> None:
        """Takes what has ended since; waits a moment where nothing has."""
        try:
            keys = [self.ended.get(timeout=POLL)]
        except queue.Empty:
            keys = []
        while not self.ended.empty():
            keys.append(self.ended.get())
        for key in keys:
            self._take(*self.under_way.pop(key))
        if self.client.status != "running":
            raise CancelledError("the connection to the scheduler is lost")
        self._tell()

    def _take(self, future: Future[Any], batch: list[Member]) -> None:
        """What a batch came to, as the directories of its members say; its task says what they cannot."""
        left = [member for member in batch if not self._settled(member)]
        if not left:
            return
        if future.status == "error":
            self._retry(future.exception(timeout=ANSWER), left)
            return
        if future.status == "cancelled":
            raise CancelledError("it has dropped its tasks")
        told: dict[str, Outcome] = {}
        with suppress(TimeoutError):  # the worker that had the answer may have died since
            if future.status == "finished":
                told = {outcome.member: outcome for outcome in future.result(timeout=ANSWER_OF_TASK)}
        for member in left:
            self._heed(member, told.get(member.key))

    def _settled(self, member: Member) -> bool:
        """Whether the directory of a member says how it ended."""
        standing = standing_of(self.runs / member.key)
        if standing.state not in ("done", "failed"):
            return False
        self.outcomes[member.key] = Outcome(member.key, standing.state, standing.error)
        return True

    def _heed(self, member: Member, outcome: Outcome | None) -> None:
        """What a task says of a member whose directory does not say it."""
        if outcome is not None and outcome.state == "unseen":
            raise ResourceError(
                f"{outcome.worker} does not see {(self.runs / member.key).resolve()}; put the case into a folder that "
                "every machine of the cluster has under the same path"
            )
        if outcome is not None and outcome.state == "failed":  # and even that could not be written
            self.outcomes[member.key] = outcome
        else:
            self.again.append((time.monotonic() + AGAIN, [member]))

    def _retry(self, error: BaseException | None, batch: list[Member]) -> None:
        """The members of a batch whose task was lost, one by one, but those that lost too many."""
        for member in batch:
            self.lost[member.key] = self.lost.get(member.key, 0) + 1
            if self.lost[member.key] <= self.limits.tries:
                self.again.append((time.monotonic() + AGAIN, [member]))
                continue
            told = f"no worker could run it: {type(error).__name__}: {error}"
            with suppress(OSError):
                put_standing(self.runs / member.key, ended(standing_of(self.runs / member.key), told))
            self.outcomes[member.key] = Outcome(member.key, "failed", told)

    def _look(self, now: float) -> None:
        """Asks where batches run: restarts a worker whose member exceeds its time; gives up where none is left."""
        scheduler = self.client.scheduler
        assert scheduler is not None
        working = self.client.sync(scheduler.processing, workers=None, callback_timeout=ANSWER)
        if working:
            self.alone_since = now
        elif now - self.alone_since > PATIENCE:
            raise ResourceError(
                f"no worker has been there for {PATIENCE:g} s; start some at the scheduler, then go on with --resume"
            )
        if self.limits.time is None:
            return
        for address, keys in working.items():
            for key in keys:
                if key in self.under_way and self._is_late(address, self.under_way[key][1], now):
                    # in a thread, as it returns when the new process is there
                    Thread(target=self._restart, args=(address,), daemon=True).start()
                    break

    def _is_late(self, address: str, batch: Sequence[Member], now: float) -> bool:
        """Whether the member that a worker runs of a batch has exceeded its time, by the clock of this machine."""
        assert self.limits.time is not None
        for member in batch:
            directory = self.runs / member.key
            standing = standing_of(directory)
            if standing.state != "running" or standing.worker != address:
                continue
            since = self.seen.setdefault((member.key, standing.tries), now)
            if now - since > self.limits.time and (member.key, standing.tries) not in self.stopped:
                self.stopped.add((member.key, standing.tries))
                put_late(directory, standing.tries)
                return True
        return False

    def _restart(self, address: str) -> None:
        """Ends a worker's process; its nanny starts another one, and the scheduler hands the batch on."""
        with suppress(OSError, TimeoutError, CancelledError, RuntimeError):  # a lost scheduler is seen elsewhere
            self.client.restart_workers([address], timeout=ANSWER, raise_for_error=False)

    def _workers(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client.nthreads()
        return found

    def _tell(self) -> None:
        failed = sum(outcome.state == "failed" for outcome in self.outcomes.values())
        done = len(self.outcomes) - failed
        self.report(
            len(self.outcomes) / max(self.total, 1),
            f"{done} of {self.total} done" + (f", {failed} failed" * bool(failed)),
        )


@contextmanager
def _lost_is_resources() -> Iterator[None]:
    """Everything that a lost scheduler does to a client, as an error that says what to do."""
    from distributed.client import FutureCancelledError

    try:
        yield
    except (OSError, TimeoutError, CancelledError, FutureCancelledError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ResourceError(
            f"the scheduler is lost ({told}); members that are done are kept, and the others go on from their "
            "checkpoints: start a scheduler, then the same command with --resume"
        ) from None


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"
