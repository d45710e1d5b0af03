"""The engine with real workers and schedulers, as processes on this machine."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
from distributed import Client

from battsim.errors import ResourceError
from battsim.output.record import plain, write_json
from battsim.run import run_case
from battsim.sweep import engine
from battsim.sweep.engine import Workers
from battsim.sweep.members import Member, members_of, standing_of
from battsim.sweep.plan import Plan, read_plan
from battsim.sweep.sweep import run_sweep

TORTUOSITY = Path(__file__).with_name("tortuosity.toml").read_text(encoding="utf-8")
SEED = "image.generate.seed"
Run = Callable[..., dict[str, Any]]


def sweep_in(tmp_path: Path, count: int, **limits: Any) -> tuple[Plan, list[Member]]:
    (tmp_path / "case.toml").write_text(TORTUOSITY, encoding="utf-8")
    plan = read_plan({"method": "grid", "parameters": {SEED: list(range(count))}, "limits": limits})
    return plan, members_of(tmp_path, plan)


def stub(log: Path, seconds: float = 0.0, odd: dict[int, str] | None = None) -> Run:
    """Stands for run_case: a line in the log for each member that it finishes; what it does with some seeds is odd."""
    odd = odd or {}

    def run(case: Any, *, results: Path, **_: Any) -> dict[str, Any]:
        seed = case.image.generate.seed
        match odd.get(seed):
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600.0)
            case "full":
                with open("/dev/full", "w") as stream:  # noqa: PTH123
                    stream.write("x" * 100_000)
        time.sleep(seconds)
        write_json(results / "summary.json", {"kind": "stub", "seed_squared": seed**2})
        write_json(results / "run.json", {"state": "done", "wall_s": seconds})
        with log.open("a") as stream:
            stream.write(f"{seed}\n")
        return {}

    return run


def seeds_of(log: Path) -> list[int]:
    return sorted(map(int, log.read_text().split())) if log.is_file() else []


def run(tmp_path: Path, plan: Plan, members: list[Member], run: Run, **options: Any) -> dict[str, Any]:
    return run_sweep(members, plan, runs=tmp_path / "runs", workers=Workers(**({"count": 2} | options)), run=run)


def failed_of(summary: dict[str, Any]) -> dict[int, str]:
    return {each["parameters"][SEED]: each["error"] for each in summary["runs"] if each["state"] == "failed"}


def test_crashes_hangs_and_full_disks_fail_alone(tmp_path: Path) -> None:
    plan, members = sweep_in(tmp_path, 12, tries=2, time="4 s")
    log = tmp_path / "log"
    summary = run(tmp_path, plan, members, stub(log, 0.05, {3: "crash", 5: "hang", 7: "full"}))
    assert seeds_of(log) == [0, 1, 2, 4, 6, 8, 9, 10, 11]  # each once
    assert (summary["done"], summary["failed"]) == (9, 3)
    failed = failed_of(summary)
    assert "ended its process in 2 of 2 tries" in failed[3]
    assert "exceeded the time limit of 4 s in 2 of 2 tries" in failed[5]
    assert "no space left on the disk" in failed[7]
    tries = {member.parameters[SEED]: standing_of(tmp_path / "runs" / member.key).tries for member in members}
    assert (tries[3], tries[5], tries[7]) == (2, 2, 1)
    index = (tmp_path / "runs" / "index.csv").read_text()
    assert index.count("\n") == 13
    assert "seed_squared" in index

    again = run(tmp_path, plan, members, stub(log, 0.05))
    assert (again["done"], again["failed"], again["done_before"]) == (12, 0, 9)
    assert seeds_of(log) == list(range(12))


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A dask process with all that it started; it ends with the block."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "dask", *arguments]
    with subprocess.Popen(command, start_new_session=True, **quiet) as started:  # type: ignore[call-overload]
        try:
            yield started
        finally:
            end(started)


def end(started: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children at once, as a machine does that goes down."""
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def scheduler_at(file: Path) -> Any:
    return process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))


def worker_of(file: Path, folder: Path) -> Any:
    place = ("--local-directory", str(folder), "--no-dashboard", "--host", "127.0.0.1")
    return process("worker", "--scheduler-file", str(file), "--nthreads", "1", "--memory-limit", "2GiB", *place)


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_a_scheduler_that_dies_ends_the_sweep_and_resuming_completes_it(tmp_path: Path) -> None:
    plan, members = sweep_in(tmp_path, 8)
    log, file = tmp_path / "log", tmp_path / "scheduler.json"
    with scheduler_at(file) as scheduler:
        wait_for(file.is_file)
        with worker_of(file, tmp_path / "w"):

            def kill() -> None:
                wait_for(lambda: len(seeds_of(log)) >= 2)
                end(scheduler)

            killer = Thread(target=kill)
            killer.start()
            with pytest.raises(ResourceError, match=r"scheduler is lost.*--resume"):
                run(tmp_path, plan, members, stub(log, 0.3), scheduler=str(file))
            killer.join()
    done = seeds_of(log)
    assert 2 <= len(done) < 8
    assert (tmp_path / "runs" / "index.csv").is_file()
    summary = run(tmp_path, plan, members, stub(log, 0.0))
    assert (summary["done"], summary["failed"]) == (8, 0)
    assert sorted(set(seeds_of(log))) == list(range(8))
    assert len(seeds_of(log)) == 8


def test_schedulers_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONNECT", 1.0)
    plan, members = sweep_in(tmp_path, 1)
    for scheduler, words in {
        "tcp://127.0.0.1:1": "no scheduler answers",
        str(tmp_path / "none.json"): "there is no such scheduler file",
        "nonsense": "no scheduler answers",
    }.items():
        with pytest.raises(ResourceError, match=words):
            run(tmp_path, plan, members, stub(tmp_path / "log"), scheduler=scheduler)
        # collected later, in the thread that the next client starts, one that was not made would wait there for ever
        assert [left for left in gc.get_objects() if isinstance(left, Client)] == []


def test_a_scheduler_without_workers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 2.0)
    plan, members = sweep_in(tmp_path, 1)
    file = tmp_path / "scheduler.json"
    with scheduler_at(file):
        wait_for(file.is_file)
        with pytest.raises(ResourceError, match="no worker has been there for 2 s"):
            run(tmp_path, plan, members, stub(tmp_path / "log"), scheduler=str(file))


@pytest.mark.slow  # pytest -m slow tests/sweep/test_sweep_engine.py
def test_two_hundred_members_and_ten_dead_workers(tmp_path: Path) -> None:
    plan, members = sweep_in(tmp_path, 200, tries=3, time="20 s")
    log = tmp_path / "log"
    odd = {60: "crash", 120: "hang"}
    killed: list[int] = []

    def kill_workers() -> None:
        mine = psutil.Process()
        while len(killed) < 10:
            done = len(seeds_of(log))
            if done < 15 * (len(killed) + 1):
                time.sleep(0.05)
                continue
            running = [
                worker
                for worker in mine.children(recursive=True)
                if "multiprocessing.spawn" in " ".join(worker.cmdline()) and worker.pid not in killed
            ]
            victim = running[len(killed) % len(running)]
            victim.kill()
            killed.append(victim.pid)

    killer = Thread(target=kill_workers)
    killer.start()
    summary = run(tmp_path, plan, members, stub(log, 0.3, odd), count=4)
    killer.join()
    assert len(killed) == 10
    assert (summary["done"], summary["failed"]) == (198, 2)
    assert set(failed_of(summary)) == set(odd)
    assert "ended its process in 3 of 3 tries" in failed_of(summary)[60]
    assert "exceeded the time limit" in failed_of(summary)[120]
    assert seeds_of(log) == [seed for seed in range(200) if seed not in odd]  # 198, each once
    for member in members:
        seed = member.parameters[SEED]
        if seed not in odd:
            found = json.loads((tmp_path / "runs" / member.key / "results" / "summary.json").read_text())
            assert found["seed_squared"] == seed**2


@pytest.mark.slow
def test_two_hundred_real_members_through_dead_workers_are_those_of_a_serial_run(tmp_path: Path) -> None:
    plan, members = sweep_in(tmp_path, 200)
    killed: list[int] = []

    def kill_workers() -> None:
        while len(killed) < 10:
            done = len(list((tmp_path / "runs").glob("*/results/summary.json")))
            if done < 15 * (len(killed) + 1):
                time.sleep(0.02)
                continue
            children = psutil.Process().children(recursive=True)
            workers = [each for each in children if "multiprocessing.spawn" in " ".join(each.cmdline())]
            workers[0].kill()
            killed.append(workers[0].pid)

    killer = Thread(target=kill_workers)
    killer.start()
    summary = run(tmp_path, plan, members, run_case, count=4)
    killer.join()
    assert len(killed) == 10
    assert (summary["done"], summary["failed"]) == (200, 0)
    for member in members:
        alone = run_case(member.case, results=tmp_path / "serial" / member.key)
        there = json.loads((tmp_path / "runs" / member.key / "results" / "summary.json").read_text())
        assert without_times(there) == without_times(plain(alone))


def without_times(content: Any) -> Any:
    """The same without what a clock said."""
    if isinstance(content, dict):
        return {name: without_times(inner) for name, inner in content.items() if not name.endswith("_s")}
    return content


@pytest.mark.slow
def test_three_workers_two_killed_and_one_added(tmp_path: Path) -> None:
    plan, members = sweep_in(tmp_path, 30)
    log, file = tmp_path / "log", tmp_path / "scheduler.json"
    with ExitStack() as stack:
        stack.enter_context(scheduler_at(file))
        wait_for(file.is_file)
        workers = [stack.enter_context(worker_of(file, tmp_path / f"w{k}")) for k in range(3)]

        def change() -> None:
            for k in range(2):
                wait_for(lambda k=k: len(seeds_of(log)) >= 5 * (k + 1))  # type: ignore[misc]
                end(workers[k])
            stack.enter_context(worker_of(file, tmp_path / "w3"))

        changer = Thread(target=change)
        changer.start()
        summary = run(tmp_path, plan, members, stub(log, 0.3), scheduler=str(file))
        changer.join()
    assert (summary["done"], summary["failed"]) == (30, 0)
    assert seeds_of(log) == list(range(30))


def battsim(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from battsim.cli import main; main()", *map(str, arguments)]


def command_in(tmp_path: Path, count: int) -> Path:
    (tmp_path / "case.toml").write_text(TORTUOSITY, encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(
        f'schema = 1\nmethod = "grid"\n[parameters]\n"{SEED}" = {list(range(count))}\n', encoding="utf-8"
    )
    return tmp_path


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    directory = command_in(tmp_path, 30)
    with subprocess.Popen(
        battsim("sweep", directory, "--workers", 2), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        wait_for(lambda: len(list(directory.glob("runs/*/results/summary.json"))) >= 3)
        os.killpg(started.pid, signal.SIGINT)  # as Ctrl-C in a terminal does: to the workers as well
        _, told = started.communicate(timeout=60)
    assert started.returncode == 130, told
    assert "Traceback" not in told
    assert "--resume" in told
    found = subprocess.run(
        battsim("sweep", directory, "--resume", "--json"), capture_output=True, text=True, check=False, timeout=300
    )
    assert found.returncode == 0, found.stderr
    summary = json.loads(found.stdout)
    assert (summary["done"], summary["failed"]) == (30, 0)
    assert 3 <= summary["done_before"] < 30
