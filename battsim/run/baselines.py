"""The homogenised cells beside a resolved one: same materials, image, current density and start, and the gap."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from battsim.case import ResolvedCase
from battsim.errors import CaseError
from battsim.homogenise import BASELINES, Homogenised, homogenise, ladder
from battsim.models.p2d.cell import P2DCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.output.pybamm_module import write_pybamm_module
from battsim.output.tables import TableWriter, read_table
from battsim.post.gap import Curve, common_capacities, curve_of, gap, gap_rows, rungs
from battsim.run.checkpoint import Inputs
from battsim.run.exchange import BPX_FILE, write_p2d_as_bpx
from battsim.run.line import run_cell
from battsim.run.protocol import Ended
from battsim.run.sinks import Report, part_of
from meshing.image import VoxelImage
from meshing.mesh import Mesh

PYBAMM_FILE = "p2d_image_pybamm.py"
LADDER = "ladder"
"""Folder of the tables of rungs that are no baseline."""
PAUSE_FREE = ("discharge", "charge")


def run_baselines(
    case: ResolvedCase,
    cell: HalfCell,
    mesh: Mesh,
    image: VoxelImage,
    measured: dict[str, Any],
    results: Path,
    report: Report,
    inputs: Inputs,
    start: tuple[float, ...],
    one_c: float,
) -> dict[str, Any]:
    """`baselines`, `ladder` and `homogenised` of a summary, from the finished tables of the resolved cell.

    Each rung of the ladder runs the case's protocol; their tables are written beside those of the resolved cell.

    Parameters
    ----------
    cell, mesh, image
        The resolved cell, its mesh and its image in cell axes.
    measured
        Content of microstructure.json.
    start
        Stoichiometry at the start.
    one_c
        What 1 C means for the resolved cell, A.
    """
    transport = measured["transport"]
    found = homogenise(cell, mesh, image, transport["ionic"]["b"], transport["electronic"]["sigma_eff_S_m"])
    names = {rung: name for name, rung in BASELINES.items()}
    (results / LADDER).mkdir(exist_ok=True)
    per_area = one_c / cell.network.cross_section
    tables, ends = {}, {}
    notes: list[str] = []
    steps = list(ladder(found, cell.parameters))
    for number, (rung, parameters) in enumerate(steps):
        told = part_of(report, number / len(steps), (number + 1) / len(steps))
        told(0.0, f"homogenised cell: {rung}")
        folder = results if rung in names else results / LADDER
        suffix = f"_{names[rung]}" if rung in names else f"_{_slug(rung)}"
        homogenised = P2DCell(parameters)
        ends[rung] = run_cell(
            case, homogenised, folder, told, inputs, start, per_area, suffix=suffix, checkpoints=False
        )
        tables[rung] = folder / f"timeseries{suffix}.csv"
        if names.get(rung) == "p2d_image":
            try:
                write_p2d_as_bpx(results / BPX_FILE, case, parameters, per_area)
            except CaseError as error:  # a material that BPX has no place for costs the file, not the run
                notes.append(f"{BPX_FILE} was not written: {error}")
            write_pybamm_module(results / PYBAMM_FILE, parameters, title=case.name, x_start=start[0], one_c=per_area)
    driven = next((k for k, step in enumerate(case.protocol) if step.step in PAUSE_FREE), None)
    compared = {} if driven is None else _compared(results, tables, driven, per_area)
    return {"homogenised": _as_json(found, ends), "notes": notes, **compared}


def _compared(results: Path, tables: dict[str, Path], number: int, per_area: float) -> dict[str, Any]:
    """The gaps over one step of the protocol, as numbers and as gap.csv; empty where a curve lacks the step.

    `per_area` is what 1 C means, A/m2.
    """
    resolved = curve_of(read_table(results / "timeseries.csv"), number)
    curves = {rung: curve_of(read_table(path), number) for rung, path in tables.items()}
    known: dict[str, Curve] = {rung: curve for rung, curve in curves.items() if curve is not None}
    if resolved is None or len(known) < len(curves):
        return {}
    rate = resolved.mean_current / per_area
    common = common_capacities([resolved, *known.values()], rate)
    chosen = {name: known[rung] for name, rung in BASELINES.items()}
    pairwise = {name: common_capacities([resolved, curve], rate) for name, curve in chosen.items()}
    columns, rows = gap_rows(resolved, chosen, common)
    with TableWriter(results / "gap.csv", columns) as table:
        for row in rows[:: max(1, len(rows) // 400)]:
            table.append(dict(zip(columns, map(float, row), strict=True)))
    return {
        "baselines": {name: gap(resolved, curve, pairwise[name]) for name, curve in chosen.items()},
        "ladder": rungs([*known, "resolved"], [*known.values(), resolved], common),
        "compared_step": number,
    }


def _as_json(found: Homogenised, ends: dict[str, Ended]) -> dict[str, Any]:
    """What the image is to the homogenised model, and how each rung ended."""
    return {
        "thickness_m": found.thickness,
        "eps_e": found.porosity,
        "b": found.b,
        "b_bruggeman": found.b_bruggeman,
        "sigma_eff_S_m": found.conductivity,
        "sigma_bruggeman_S_m": found.conductivity_bruggeman,
        "eps_s": found.active_volume_fraction,
        "radius_m": found.radius,
        "area_per_volume_1_m": found.area_per_volume,
        "sizes": [{"radius_m": each.radius, "share": each.share} for each in found.sizes],
        "stops": {rung: end.reason for rung, end in ends.items()},
    }


def _slug(rung: str) -> str:
    """A rung's name in a file's name."""
    return re.sub(r"[^a-z]+", "_", rung.lower()).strip("_")
