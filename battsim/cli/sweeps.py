"""`battsim sweep`: from sweep.toml to its members, their runs, and what is printed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from battsim.cli.guard import Terminated, UsageError
from battsim.cli.show import print_json, print_rows, terminal_progress
from battsim.cli.stop import stoppable

if TYPE_CHECKING:
    from battsim.sweep.cost import Cost
    from battsim.sweep.members import Member
    from battsim.sweep.plan import Plan

SHOWN = 20
"""Members that a dry run prints; --json has all."""
SLURM = """\
#!/bin/sh
# A sweep on a SLURM cluster: one scheduler, many workers, and battsim that hands them directories.
#   {directory} must be in a folder that all nodes see.
#   sbatch sweep.slurm     runs it; the same again goes on after a time limit, a cancelled job or lost nodes.
#SBATCH --job-name=battsim-sweep
#SBATCH --ntasks={tasks}
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu={memory}
#SBATCH --time={time}
#SBATCH --output={directory}/sweep-%j.log
set -e

# activate the environment in which battsim is installed, such as: . $HOME/battsim/bin/activate
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
file={directory}/scheduler-$SLURM_JOB_ID.json

# the scheduler, on the first node
dask scheduler --scheduler-file "$file" --no-dashboard &
scheduler=$!
trap 'kill $scheduler; rm -f "$file"' EXIT
until [ -s "$file" ]; do sleep 1; done

# a worker per task, each with one thread and a nanny that starts it again where it dies
srun --overlap --ntasks={tasks} dask worker --scheduler-file "$file" --nthreads 1 --nworkers 1 \\
    --memory-limit {limit} --local-directory "${{TMPDIR:-/tmp}}" --no-dashboard &

# without --resume on the first run; with it, what is done is kept and the rest goes on
resume=$([ -d {directory}/runs ] && echo --resume || true)
battsim sweep {directory} --scheduler "$file" $resume --yes
"""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What the command line says about a sweep."""

    workers: int | None = None
    scheduler: str | None = None
    resume: bool = False
    fresh: bool = False
    dry_run: bool = False
    yes: bool = False
    allow_outside: bool = False


def sweep_directory(directory: Path, options: SweepOptions, as_json: bool) -> None:
    """Plans, runs and reports a sweep; exit code 8 where some members failed."""
    from battsim.errors import MembersFailedError
    from battsim.sweep.members import RUNS, BusyError, members_of
    from battsim.sweep.plan import load_plan

    plan = load_plan(directory)
    if not options.dry_run:
        _refuse_many(plan, options.yes)
    with terminal_progress() as progress:
        members = members_of(directory, plan, allow_outside=options.allow_outside, report=progress)
    for note in plan.notes:
        typer.echo(f"note: {note}", err=True)
    if options.dry_run:
        _show_plan(directory, plan, members, as_json)
        return
    runs = directory / RUNS
    try:
        _make_room(runs, options)
        summary = _watched(directory, plan, members, options)
    except BusyError:
        raise UsageError(f"{runs} belongs to a sweep that is under way; wait for it, or stop it") from None
    if as_json:
        print_json(summary)
    else:
        _print_sweep(summary, runs)
    if summary["failed"]:
        failed = [run for run in summary["runs"] if run["state"] == "failed"]
        raise MembersFailedError(
            f"{len(failed)} of {summary['members']} members failed:\n"
            + "\n".join(f"  {runs / run['folder']}: {run['error']}" for run in failed)
        )


def print_slurm(directory: Path, workers: int | None) -> None:
    """Print a SLURM script that runs the sweep in a directory."""
    from battsim.sweep.plan import load_plan

    limits = load_plan(directory).limits
    mebibytes = round(4096 if limits.memory is None else limits.memory / 2**20)
    hours = 24.0 if limits.time is None else max(24.0, limits.time / 3600.0)
    typer.echo(
        SLURM.format(
            directory=directory.resolve(),
            tasks=workers or 16,
            memory=f"{mebibytes + 256}M",
            limit=f"{mebibytes}MiB",
            time=f"{int(hours)}:00:00",
        ),
        nl=False,
    )


def _refuse_many(plan: Plan, yes: bool) -> None:
    if plan.count > plan.limits.members and not yes:
        raise UsageError(
            f"sweep.toml makes {plan.count} members, more than limits.members = {plan.limits.members}; --yes runs them "
            "all, --dry-run shows what they take; or raise the limit, or ask for fewer values"
        )


def _make_room(runs: Path, options: SweepOptions) -> None:
    """A place for the members: empty, or with --resume one that the sweep goes on with."""
    from battsim.sweep.members import LOCK_FILE, locked

    if not runs.is_dir() or not any(entry.name != LOCK_FILE for entry in runs.iterdir()):
        return
    if options.fresh:
        with locked(runs):
            _remove(runs)
    elif not options.resume:
        raise UsageError(
            f"{runs} holds a sweep already; --resume goes on with it and keeps what is done, --fresh removes it and "
            "starts anew"
        )


def _remove(runs: Path) -> None:
    """Removes the members of a sweep and its tables, and nothing else."""
    from battsim.output.sweep_page import PAGE
    from battsim.sweep.collect import INDEX
    from battsim.sweep.members import remove_member
    from battsim.sweep.sweep import SUMMARY_FILE
    from battsim.sweep.worker import CACHE

    for folder in runs.iterdir():
        remove_member(folder)
    if (runs / CACHE).is_dir() and not (runs / CACHE).is_symlink():
        shutil.rmtree(runs / CACHE)
    for name in (f"{INDEX}.csv", f"{INDEX}.parquet", PAGE, SUMMARY_FILE):
        (runs / name).unlink(missing_ok=True)


def _watched(directory: Path, plan: Plan, members: Sequence[Member], options: SweepOptions) -> Mapping[str, Any]:
    """The sweep with its progress shown; an interruption ends it, and says what is left."""
    from battsim.sweep.engine import Workers
    from battsim.sweep.members import RUNS, is_done
    from battsim.sweep.sweep import run_sweep

    runs = directory / RUNS
    to_do = sum(not is_done(runs / member.key) for member in members)
    count = options.workers or max(1, min(processors(), to_do))
    try:
        with stoppable(terminal_progress()) as report:
            return run_sweep(
                members,
                plan,
                runs=runs,
                workers=Workers(count, options.scheduler),
                progress=report,
                title=members[0].case.name.split(":")[0] if members else "",
            )
    except (KeyboardInterrupt, Terminated):
        done = sum(is_done(runs / member.key) for member in members)
        typer.echo(
            f"{done} of {len(members)} members are done, and the others keep their checkpoints; go on with: battsim "
            f"sweep {directory} --resume",
            err=True,
        )
        raise


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_sweep(summary: Mapping[str, Any], runs: Path) -> None:
    before = f", {summary['done_before']} of them before" if summary["done_before"] else ""
    failed = f", {summary['failed']} failed" if summary["failed"] else ""
    typer.echo(f"{summary['done']} of {summary['members']} members done{before}{failed}")
    typer.echo(f"results in {runs}: index.csv, index.parquet, index.html")


def _show_plan(directory: Path, plan: Plan, members: Sequence[Member], as_json: bool) -> None:
    """What a sweep would run, and what that takes."""
    from battsim.sweep.cost import cost_of
    from battsim.sweep.members import RUNS, is_done

    costs = [cost_of(member.case) for member in members]
    done = [is_done(directory / RUNS / member.key) for member in members]
    if as_json:
        print_json(_plan_as_json(plan, members, costs, done))
        return
    alike = plan.count - len(members)
    typer.echo(
        f"{plan.method}: {len(members)} members"
        + (f" ({alike} of {plan.count} designs are alike, and are computed once)" if alike else "")
        + (f", {sum(done)} done" if any(done) else "")
    )
    rows = [["member", *plan.paths, "unknowns", "memory", "time"]]
    for member, cost in list(zip(members, costs, strict=True))[:SHOWN]:
        values = [str(member.parameters.get(path, "-")) for path in plan.paths]
        rows.append([member.key, *values, str(cost.unknowns or "-"), f"{cost.memory / 2**20:.0f} MiB", cost.time])
    print_rows(rows)
    if len(members) > SHOWN:
        typer.echo(f"... and {len(members) - SHOWN} more; --json has all")
    if plan.count > plan.limits.members:
        typer.echo(f"more than limits.members = {plan.limits.members}: --yes runs them all")
    most = max((cost.memory for cost in costs), default=0)
    typer.echo(f"at most {most / 2**20:.0f} MiB for each worker; each member takes {', '.join(_times(costs))}")
    if plan.limits.memory is not None and most > plan.limits.memory:
        typer.echo(f"limits.memory = {plan.limits.memory / 2**20:.0f} MiB may be too little for the largest", err=True)


def _times(costs: Sequence[Cost]) -> list[str]:
    return list(dict.fromkeys(cost.time for cost in costs))


def _plan_as_json(plan: Plan, members: Sequence[Member], costs: Sequence[Cost], done: Sequence[bool]) -> dict[str, Any]:
    return {
        "method": plan.method,
        "designs": plan.count,
        "members": len(members),
        "done": sum(done),
        "parameters": list(plan.paths),
        "needs_yes": plan.count > plan.limits.members,
        "memory_bytes": max((cost.memory for cost in costs), default=0),
        "notes": list(plan.notes),
        "runs": [
            {
                "member": member.key,
                "parameters": dict(member.parameters),
                "unknowns": cost.unknowns,
                "memory_bytes": cost.memory,
                "time": cost.time,
                "done": finished,
            }
            for member, cost, finished in zip(members, costs, done, strict=True)
        ],
    }
