"""Judging a resolved case by the homogenised cell with what its image gives, and choosing who is resolved after all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from battsim.case import FullCellCase, ResolvedCase, initial_stoichiometries
from battsim.errors import ImpossibleError, NotConvergedError
from battsim.homogenise import BASELINES, ladder
from battsim.models.p2d.cell import P2DCell
from battsim.output.checkpoint import Checkpoint
from battsim.output.record import MICROSTRUCTURE_FILE, recorded, write_json
from battsim.post.geometry import mesh_geometry
from battsim.run import built_cell, input_files
from battsim.run.baselines import homogenised_of, missing_paths
from battsim.run.checkpoint import inputs_of
from battsim.run.line import run_cell
from battsim.run.p2d import p2d_summary
from battsim.run.place import named_after
from battsim.run.protocol import one_c_of
from battsim.run.resolved import BuiltCell
from battsim.run.sinks import Report, silent
from battsim.search.plan import SearchPlan
from battsim.search.study import Finished
from battsim.sweep.sensitivity import pareto_front

FOLDER = "screening"
"""Of the members of a screening, beside `runs`."""


def run_screening(
    case: ResolvedCase | FullCellCase,
    *,
    results: Path,
    progress: Report | None = None,
    checkpoint: Checkpoint | None = None,  # noqa: ARG001 (the signature of run_case; this is too short to have any)
    built: BuiltCell | None = None,
) -> dict[str, Any]:
    """Summary of the homogenised cell that the image of a resolved case gives, after the case's protocol.

    Image, mesh and measured transport are those of the resolved cell, which itself is not solved. Its files are those
    of a homogenised cell, and microstructure.json.

    Raises
    ------
    ImpossibleError
        Where no path of electrolyte or of solid leads through an electrode, or no current can flow.
    BattsimError, ImageError, MeshError
        As `run_case`.
    """
    report = progress or silent
    with (
        threadpool_limits(limits=1, user_api="blas"),
        recorded(results, inputs=input_files(case), seed=None, threads=case.solver.threads),
        named_after(case),
        ExitStack() as stack,
    ):
        write_json(results / "case.resolved.json", case.resolved())
        own = stack.enter_context(built_cell(case, report)) if built is None else built
        write_json(results / MICROSTRUCTURE_FILE, own.measured)
        summary = _homogenised(case, own, results, report)
        write_json(results / "summary.json", summary)
        if summary["capacity_Ah_m2"] is None:
            raise NotConvergedError("; ".join(summary["warnings"]))
    return summary


def _homogenised(case: ResolvedCase | FullCellCase, built: BuiltCell, results: Path, report: Report) -> dict[str, Any]:
    """The rung `p2d_image` of the ladder, through the protocol."""
    found = homogenised_of(built.cell, built.mesh, built.images, built.by_electrode)
    for sentence in missing_paths(found, built.cell):
        raise ImpossibleError(sentence)
    cell = P2DCell(dict(ladder(found))[BASELINES["p2d_image"]])
    one_c = one_c_of(case, built.cell) / built.cell.network.cross_section
    start = initial_stoichiometries(case, tuple(electrode.material for electrode in built.cell.electrodes))
    ended = run_cell(case, cell, results, report, inputs_of(case), start, one_c, checkpoints=False)
    disconnected = mesh_geometry(built.cell, built.mesh).active_disconnected_fraction
    return p2d_summary(cell, ended, one_c) | {"active_disconnected_fraction": disconnected}


def finalists(trials: Sequence[Finished], plan: SearchPlan) -> tuple[list[Finished], list[Finished]]:
    """The best of the feasible trials by the screening, and others from the best to the worst, as checks of it.

    Several objectives: front by front, those of the last front spread evenly over their first objective.
    """
    assert plan.screening is not None
    distinct: dict[tuple[str, ...], Finished] = {}
    for trial in trials:
        if trial.state == "done":
            distinct.setdefault(trial.answer.members, trial)
    ranked = _ranked(list(distinct.values()), plan)
    chosen, rest = ranked[: plan.screening.finalists], ranked[plan.screening.finalists :]
    at = np.unique(np.linspace(0, len(rest) - 1, min(plan.screening.checks, len(rest))).round().astype(int))
    if plan.screening.checks == 1 and rest:
        at = np.array([len(rest) // 2])
    return chosen, [rest[k] for k in at]


def _ranked(trials: list[Finished], plan: SearchPlan) -> list[Finished]:
    """From the best to the worst."""
    values = told_of(trials, plan)
    if len(plan.objectives) == 1:
        return [trials[k] for k in np.argsort(-values[:, 0], kind="stable")]
    ranked: list[Finished] = []
    left = np.arange(len(trials))
    while left.size:
        best = pareto_front(list(values[left].T))
        ranked += [trials[k] for k in _spread_out(left[best], values)]
        left = left[~best]
    return ranked


def _spread_out(front: NDArray[np.int64], values: NDArray[np.float64]) -> list[int]:
    """A front in an order in which each next one is far from those before, beginning with both ends."""
    scaled = values[front] - values[front].min(axis=0)
    scaled = scaled / np.where(np.ptp(scaled, axis=0) > 0.0, np.ptp(scaled, axis=0), 1.0)
    order = [int(np.argmax(scaled[:, 0]))]
    while len(order) < len(front):
        distance = np.linalg.norm(scaled[:, None, :] - scaled[None, order, :], axis=2).min(axis=1)
        distance[order] = -1.0
        order.append(int(np.argmax(distance)))
    return [int(front[k]) for k in order]


def told_of(trials: Sequence[Finished], plan: SearchPlan) -> NDArray[np.float64]:
    """Objectives as the search took them, all to be large, shape (n_trials, n_objectives)."""
    rows = [
        [objective.sign * (trial.answer.objectives or {})[objective.name]["told"] for objective in plan.objectives]
        for trial in trials
    ]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(plan.objectives))
