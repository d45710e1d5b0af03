"""The table of contents: case -> image -> mesh -> model -> solution -> numbers -> files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from battsim.case import (
    Case,
    CellCase,
    FullCellCase,
    P2DCase,
    ResolvedCase,
    TortuosityCase,
    assumed,
    images_of,
)
from battsim.errors import CaseError, NotConvergedError
from battsim.output.checkpoint import Checkpoint
from battsim.output.record import recorded, write_json
from battsim.run.build import build_image, build_mesh, check_images, mesh_of
from battsim.run.checkpoint import check_finished, find_checkpoint, finished_summary, input_files, inputs_of, stands_at
from battsim.run.full_cell import built_full_cell, draw_full_cell
from battsim.run.half_cell import built_half_cell, draw_half_cell
from battsim.run.p2d import draw_p2d, run_p2d
from battsim.run.place import named_after
from battsim.run.resolved import BuiltCell, measured_before, run_resolved
from battsim.run.sinks import Report, silent
from battsim.run.tortuosity import run_tortuosity

__all__ = [
    "build_image",
    "build_mesh",
    "built_cell",
    "check_finished",
    "check_images",
    "find_checkpoint",
    "finished_summary",
    "input_files",
    "mesh_of",
    "run_case",
    "stands_at",
]


def run_case(
    case: Case,
    *,
    results: Path,
    progress: Callable[[float, str], None] | None = None,
    checkpoint: Checkpoint | None = None,
    built: BuiltCell | None = None,
) -> dict[str, Any]:
    """Summary of a case; everything else it finds is written to `results` on the way.

    `summary.json` is written last, so that a run that fails leaves none; only a run whose balances do not close leaves
    one, with null for every number that they discredit.

    A run in time goes on from `checkpoint`, as `find_checkpoint(case, results)` finds it, and ends with the tables,
    fields and summary of a run that was never interrupted, bit for bit. `built` is what the case shares with others
    that differ in the protocol alone, as `built_cell` makes it; without it a run makes its own.

    Raises
    ------
    BattsimError, ImageError, MeshError
        Where the input cannot be read or meshed, no current can flow, or a solver does not converge.
    """
    if not isinstance(case, CellCase | TortuosityCase):
        raise CaseError("the case has no kind; load it with battsim.case.load_case")
    report = progress or silent
    # short vectors gain nothing from BLAS threads, which wait for each other so busily that a run takes up to four
    # times as long on a machine that has other work
    with (
        threadpool_limits(limits=1, user_api="blas"),
        recorded(
            results,
            inputs=input_files(case),
            seed=_seeds(case),
            threads=case.solver.threads,
            resumed_from_s=None if checkpoint is None else checkpoint.content["time_s"],
        ),
        named_after(case),
    ):
        write_json(results / "case.resolved.json", case.resolved())
        notes = assumed(case)
        if isinstance(case, ResolvedCase | FullCellCase) and built is not None:
            summary = run_resolved(case, built, results, report, inputs_of(case), checkpoint)
        elif isinstance(case, ResolvedCase | FullCellCase):
            with built_cell(case, report, None if checkpoint is None else measured_before(results)) as own:
                summary = run_resolved(case, own, results, report, inputs_of(case), checkpoint)
        elif isinstance(case, P2DCase):
            summary = run_p2d(case, results, report, inputs_of(case), checkpoint)
        else:
            summary = run_tortuosity(case, results, report)
        if notes:
            summary = summary | {"warnings": [*summary["warnings"], *notes]}
        write_json(results / "summary.json", summary)
        if summary.get("capacity_Ah_m2", 0.0) is None:
            raise NotConvergedError("; ".join(summary["warnings"]))
        if isinstance(case, ResolvedCase):
            draw_half_cell(case, results, report)
        if isinstance(case, FullCellCase):
            draw_full_cell(case, results, report)
        if isinstance(case, P2DCase):
            draw_p2d(case, results, report)
    return summary


def built_cell(
    case: ResolvedCase | FullCellCase, report: Report = silent, measured: dict[str, Any] | None = None
) -> AbstractContextManager[BuiltCell]:
    """What runs share that differ in the protocol alone; its threads live as long as the block.

    Parameters
    ----------
    measured
        Content of microstructure.json, where it is known already.

    Raises
    ------
    BattsimError, ImageError, MeshError
        Where the input cannot be read or meshed, or no current can flow.
    """
    if isinstance(case, ResolvedCase):
        return built_half_cell(case, report, measured)
    return built_full_cell(case, report, measured)


def _seeds(case: Case) -> int | dict[str, int] | None:
    """Of the recipe, or of the recipes by the paths of their tables; None where there is none."""
    seeds = {key: image.generate.seed for key, image in images_of(case).items() if image.generate is not None}
    return seeds.get("image", seeds or None)
