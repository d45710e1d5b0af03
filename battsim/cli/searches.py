"""`battsim search`: from search.toml to the best design, and what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from battsim.cli.guard import AnsweredError, Terminated, UsageError
from battsim.cli.show import print_json, print_rows, terminal_progress
from battsim.cli.stop import stoppable
from battsim.cli.sweeps import SweepOptions, processors

if TYPE_CHECKING:
    from battsim.search.designs import Designer
    from battsim.search.plan import SearchPlan

SHOWN = 8
"""Designs that a dry run prints."""


@dataclass(frozen=True, slots=True)
class SearchOptions(SweepOptions):
    """What the command line says about a search."""

    trials: int | None = None


def search_directory(directory: Path, options: SearchOptions, as_json: bool) -> None:
    """Plans, runs and reports a search; exit code 8 where too many trials failed, 5 where no design met the limits."""
    if find_spec("optuna") is None:
        raise UsageError('battsim search needs optuna, which is not installed: pip install "battsim[search]"')
    from battsim.errors import MembersFailedError
    from battsim.search.designs import check_designs, designer_of
    from battsim.search.plan import load_search
    from battsim.sweep.members import BusyError

    plan = load_search(directory)
    if options.trials is not None:
        plan = replace(plan, trials=options.trials)
    if not options.dry_run and plan.members > plan.limits.members and not options.yes:
        raise UsageError(
            f"the search runs up to {plan.members} members, more than limits.members = {plan.limits.members}; --yes "
            "runs them all, --dry-run shows what they take; or raise the limit, or ask for fewer trials"
        )
    designer = designer_of(directory, plan, screened=plan.screening is not None, allow_outside=options.allow_outside)
    notes = check_designs(designer)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if options.dry_run:
        _show_plan(designer, notes, as_json)
        return
    try:
        _make_room(directory, options)
        summary = _watched(directory, plan, options)
    except BusyError:
        raise UsageError(f"{directory} belongs to a sweep or search under way; wait for it, or stop it") from None
    if as_json:
        print_json(summary)
    else:
        _print_search(summary, designer, directory)
    if summary["given_up"]:
        raise MembersFailedError(
            f"{summary['failed']} of {summary['trials']} trials failed, more than limits.failed = "
            f"{plan.limits.failed:g} of them, so that the search ended; {directory / 'search.csv'} has the errors, "
            f"such as: {summary['first_error']}"
        )
    if not (summary.get("best") or summary.get("pareto")):
        raise AnsweredError(_nothing_found(summary))


def _nothing_found(summary: Mapping[str, Any]) -> str:
    nearest = summary.get("nearest")
    if nearest is None:
        return f"no design could be computed: {summary['first_error']}"
    told = ", ".join(f"{name} = {value:.4g}" for name, value in nearest["constraints"].items())
    return (
        f"no design met all constraints; the nearest, trial {nearest['trial']}, has {told}. Widen the ranges or the "
        "limits, or ask for more trials (--trials with --resume)"
    )


def _make_room(directory: Path, options: SearchOptions) -> None:
    """A place for a search: none that is there already, or with --resume one that goes on."""
    from battsim.search.study import DATABASE
    from battsim.sweep.members import RUNS, locked

    if not (directory / DATABASE).exists():
        return
    if options.fresh:
        (directory / RUNS).mkdir(exist_ok=True)
        with locked(directory / RUNS):
            remove_search(directory)
    elif not options.resume:
        raise UsageError(
            f"{directory / DATABASE} holds a search already; --resume goes on with it, --fresh removes it with its "
            "members and starts anew"
        )


def remove_search(directory: Path) -> None:
    """Removes a search: its database, tables, page, its screening, and the members that its table names."""
    import csv

    from battsim.search.results import SUMMARY_FILE, TABLE_FILE
    from battsim.search.screening import FOLDER
    from battsim.search.search import PAGE
    from battsim.search.study import DATABASE
    from battsim.sweep.members import remove_member

    table = directory / TABLE_FILE
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            named = {name for row in csv.DictReader(stream) for name in (row.get("members") or "").split()}
        for name in named:
            if (directory / name).parent.parent == directory:
                remove_member(directory / name)
    if (directory / FOLDER).is_dir() and not (directory / FOLDER).is_symlink():
        for folder in (directory / FOLDER).iterdir():
            remove_member(folder)
    for name in (DATABASE, f"{DATABASE}-journal", TABLE_FILE, SUMMARY_FILE, PAGE):
        (directory / name).unlink(missing_ok=True)


def _watched(directory: Path, plan: SearchPlan, options: SearchOptions) -> Mapping[str, Any]:
    """The search with its progress shown; an interruption ends it, and says how to go on."""
    from battsim.search.search import dask_crew, run_search
    from battsim.sweep.engine import Workers

    most = max(plan.trials, plan.random) * len(plan.replicates)
    workers = Workers(options.workers or max(1, min(processors(), most)), options.scheduler)
    try:
        with stoppable(terminal_progress()) as report:
            return run_search(
                directory,
                plan,
                lambda: dask_crew(workers, plan.limits),
                allow_outside=options.allow_outside,
                progress=report,
            )
    except (KeyboardInterrupt, Terminated):
        typer.echo(f"trials that are done are kept; go on with: battsim search {directory} --resume", err=True)
        raise


def _print_search(summary: Mapping[str, Any], designer: Designer, directory: Path) -> None:
    from battsim.search.show import conclusions

    for sentence in conclusions(summary, designer):
        typer.echo(sentence)
    for each in summary.get("pareto", []):
        values = ", ".join(f"{name} {told['mean']:.5g}" for name, told in each["objectives"].items())
        typer.echo(f"  {values}: {_written(each['design'])}")
    typer.echo(f"results in {directory}: search.csv, search.json, search.html")


def _written(design: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path} = {value:.5g}" if isinstance(value, float) else f"{path} = {value}" for path, value in design.items()
    )


def _show_plan(designer: Designer, notes: Sequence[str], as_json: bool) -> None:
    """What a search would choose from, and what its members take."""
    from battsim.errors import BattsimError
    from battsim.search.space import middle, sampled_designs
    from battsim.sweep.cost import cost_of

    plan = designer.plan
    costs = []
    for design in (middle(plan.space), *sampled_designs(plan.space, SHOWN, plan.seed)):
        try:
            full = design | designer.derived(design)
            costs.append((full, cost_of(designer.members(full)[0].case)))
        except BattsimError:  # one that is no case is in the notes
            continue
    most = max(cost.memory for _, cost in costs)
    if as_json:
        print_json(
            {
                "trials": plan.trials,
                "random": plan.random,
                "replicates": len(plan.replicates),
                "members": plan.members,
                "needs_yes": plan.members > plan.limits.members,
                "parameters": {path: plan.written["parameters"][path] for path in plan.space},
                "objectives": [{"value": o.name, "direction": o.direction} for o in plan.objectives],
                "constraints": [c.name for c in plan.constraints],
                "memory_bytes": most,
                "notes": list(notes),
            }
        )
        return
    typer.echo(
        f"{plan.sampler}: {plan.trials} designs"
        + (f", and {plan.random} at random beside them" if plan.random else "")
        + (f", each run {len(plan.replicates)} times" if len(plan.replicates) > 1 else "")
        + (f"; {plan.screening.finalists + plan.screening.checks} go on from the screening" if plan.screening else "")
        + f"; at most {plan.members} members"
    )
    rows = [[*plan.space, *plan.derived, "unknowns", "memory", "time"]]
    for design, cost in costs:
        values = [str(design[path]) for path in (*plan.space, *plan.derived)]
        rows.append([*values, str(cost.unknowns or "-"), f"{cost.memory / 2**20:.0f} MiB", cost.time])
    print_rows(rows)
    typer.echo(f"such designs; at most {most / 2**20:.0f} MiB for each worker")
    if plan.members > plan.limits.members:
        typer.echo(f"more than limits.members = {plan.limits.members}: --yes runs them all")
