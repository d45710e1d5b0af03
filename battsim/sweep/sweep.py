"""A sweep from its members to its table, pictures and page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from battsim.output.labels import label_of, labels_of
from battsim.output.page import Picture
from battsim.output.record import write_json
from battsim.output.sweep_page import PAGE, write_page
from battsim.run import run_case
from battsim.run.drawing import drawing
from battsim.run.sinks import Report, silent
from battsim.sweep.collect import Row, rows_of, write_index
from battsim.sweep.engine import Workers, prepare, run_members
from battsim.sweep.findings import Findings, Front, findings_of
from battsim.sweep.members import Member, is_done, locked
from battsim.sweep.plan import Plan
from battsim.sweep.worker import Outcome, RunCase

SUMMARY_FILE = "sweep.json"


def run_sweep(
    members: Sequence[Member],
    plan: Plan,
    *,
    runs: Path,
    workers: Workers,
    progress: Report | None = None,
    title: str = "",
    run: RunCase = run_case,
) -> dict[str, Any]:
    """Summary of a sweep; members that are done already are not run again.

    What is done is in the table, `index.csv`, even where the sweep ends early.

    Parameters
    ----------
    members
        As `members_of` finds them.
    runs
        Folder of their directories; made where it is missing.
    run
        What runs a case.

    Raises
    ------
    ResourceError
        Where the scheduler cannot be reached or is lost, or no worker comes.
    BusyError
        Where another process runs the sweep.
    """
    report = progress or silent
    runs.mkdir(exist_ok=True)
    began, outcomes = time.perf_counter(), dict[str, Outcome]()
    with locked(runs):
        before = {member.key for member in members if is_done(runs / member.key)}
        try:
            prepare(members, runs)
            to_do = [member for member in members if member.key not in before]
            if to_do:
                outcomes = run_members(to_do, runs, plan.limits, workers, report, run)
        finally:
            rows = rows_of(members, runs, {key: outcome.error for key, outcome in outcomes.items()})
            write_index(runs, rows)
        with threadpool_limits(limits=1, user_api="blas"):  # its threads gain nothing on matrices of this size
            found = findings_of(rows, plan.paths, plan.objectives, plan.seed, plan.replicates)
        summary = _summary(rows, members, len(before), time.perf_counter() - began) | found.numbers()
        write_json(runs / SUMMARY_FILE, summary)
        with drawing(report):
            _show(runs, rows, found, plan.paths, title)
    return summary


def _summary(rows: Sequence[Row], members: Sequence[Member], before: int, wall: float) -> dict[str, Any]:
    """Counts, and each member with what differs."""
    states = [row["state"] for row in rows]
    own = [float(w) for row in rows if isinstance(w := row.get("wall_s"), float)]
    return {
        "kind": "sweep",
        "members": len(rows),
        "done": states.count("done"),
        "done_before": before,
        "failed": states.count("failed"),
        "wall_s": wall,
        "members_wall_s": sum(own),
        "runs": [
            {
                "member": member.key,
                "folder": member.key,
                "state": row["state"],
                "error": row["error"],
                "parameters": dict(member.parameters),
            }
            for member, row in zip(members, rows, strict=True)
        ],
    }


def _show(runs: Path, rows: Sequence[Row], found: Findings, paths: Sequence[str], title: str) -> None:
    """The page of the sweep, with its pictures."""
    objectives = [name.removeprefix("-") for name in found.effects]
    columns = labels_of(list(dict.fromkeys([*paths, *objectives])))
    pictures = list(_pictures(found, labels_of(paths)))
    write_page(runs / PAGE, rows, columns | {"wall_s": "wall (s)"}, pictures, found.notes, title=title or "Sweep")


def _pictures(found: Findings, names: Mapping[str, str]) -> Iterator[Picture]:
    """Those for which there is data; `names` are those of the parameters."""
    from battsim.output import sweep_pictures as draw

    scattered = any(curve.spread_y is not None and curve.spread_y.any() for curve in found.ragone or found.rated)
    bars = " Bars: standard deviation between replicates." if scattered else ""
    if any(curve.x.size > 1 for curve in found.ragone):
        yield Picture(draw.ragone(found.ragone), "Ragone plot", f"Energy over mean power of each design.{bars}")
    if any(curve.x.size > 1 for curve in found.rated):
        yield Picture(draw.rated_capacity(found.rated), "Capacity over C-rate", f"A curve for each design.{bars}")
    if found.front is not None:
        front = found.front
        repeated = any(each is not None for each in found.scatters.values())
        picture = draw.front(front.x, front.y, front.best, front.names)
        yield Picture(picture, "Best compromises", _told(front, repeated=repeated))
    for name, effects in found.effects.items():
        number = name.removeprefix("-")
        if effects:
            picture = draw.main_effects(effects, number, found.levels, names)
            yield Picture(picture, f"Main effects on {label_of(number)}", "Mean and standard deviation over all else.")
        indices = found.sensitivities[name]
        if indices is not None and indices.first_order is not None and indices.total is not None:
            picture = draw.sensitivity(indices.first_order, indices.total, indices.r2, number, names)
            yield Picture(
                picture,
                f"Sensitivity of {label_of(number)}",
                "Sobol indices of a surrogate through the designs, each parameter uniform over its range.",
            )


def _told(front: Front, *, repeated: bool) -> str:
    """What a front says; of members that are replicates, the best are so by chance too."""
    lucky = " Replicates are points of their own here, so that the best are so by chance in part." if repeated else ""
    chosen = np.flatnonzero(front.best)
    if chosen.size == 1:
        k = int(chosen[0])
        return f"Best in both is {front.members[k]} ({front.designs[k]}): there is no compromise to make.{lucky}"
    return f"No member is better in both than those that are joined.{lucky}"
