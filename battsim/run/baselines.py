"""The homogenised cells beside a resolved one: same materials, images, current density and start, and the gap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from battsim.case import FullCellCase, ResolvedCase
from battsim.errors import CaseError, ImpossibleError, InputError
from battsim.homogenise import BASELINES, Conduction, Homogenised, HomogenisedCell, homogenise, ladder
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.parameters import P2DParameters
from battsim.models.p2d.places import LinePlaces
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.output.pybamm_module import write_pybamm_module
from battsim.output.tables import TableWriter, read_table
from battsim.post.full_cell import full_cell_entries
from battsim.post.gap import Curve, common_capacities, curve_of, gap, gap_rows, rungs
from battsim.post.salt_limit import salt_limited_current
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


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedRun:
    """A resolved cell after its protocol.

    Attributes
    ----------
    images, measured
        Image in cell axes, and its content of microstructure.json, of each electrode, from the negative end on.
    start
        Stoichiometry of each electrode at the start.
    one_c
        What 1 C means, A.
    """

    case: ResolvedCase | FullCellCase
    cell: HalfCell | FullCell
    mesh: Mesh
    images: Sequence[VoxelImage]
    measured: Sequence[Mapping[str, Any]]
    start: tuple[float, ...]
    one_c: float

    @property
    def current_1C(self) -> float:
        """What 1 C means, A/m2."""
        return self.one_c / self.cell.network.cross_section


@dataclass(frozen=True, slots=True, eq=False)
class _Rung:
    """A homogenised cell after the protocol: the cell, how it ended, and its table."""

    cell: P2DCell
    ended: Ended
    table: Path


def run_baselines(resolved: ResolvedRun, results: Path, report: Report, inputs: Inputs) -> dict[str, Any]:
    """`baselines`, `ladder` and `homogenised` of a summary, from the finished tables of the resolved cell.

    Each rung of the ladder runs the case's protocol; their tables are written beside those of the resolved cell, and
    the image-based cell as parameters for others. `notes` tell what could not be computed, compared or written, which
    costs the resolved cell nothing: a cell without a path for ions or electrons through an electrode has nothing
    homogenised beside it, and a rung whose surface cannot pass the current is left out.
    """
    found = homogenised_of(resolved.cell, resolved.mesh, resolved.images, resolved.measured)
    missing = [f"no homogenised cell was run: {sentence}" for sentence in missing_paths(found, resolved.cell)]
    if missing:
        return {"homogenised": _as_json(resolved, found, {}), "notes": missing}
    (results / LADDER).mkdir(exist_ok=True)
    climbed: dict[str, _Rung] = {}
    steps = dict(ladder(found))
    notes = _exchanged(resolved, steps[BASELINES["p2d_image"]], results)
    for number, (name, parameters) in enumerate(steps.items()):
        told = part_of(report, number / len(steps), (number + 1) / len(steps))
        told(0.0, f"homogenised cell: {name}")
        try:
            climbed[name] = _climbed(resolved, name, parameters, results, told, inputs)
        except ImpossibleError as error:
            notes.append(f"the homogenised cell {name!r} was left out: {error}")
    driven = next((k for k, step in enumerate(resolved.case.protocol) if step.step in PAUSE_FREE), None)
    compared: dict[str, Any] = {}
    if driven is not None:
        try:
            compared = _compared(results, climbed, driven, resolved.current_1C, len(steps))
        except InputError as error:
            notes.append(f"the homogenised cells were not compared with the resolved one: {error}")
    return {"homogenised": _as_json(resolved, found, climbed), "notes": notes, **compared}


def homogenised_of(
    cell: HalfCell | FullCell, mesh: Mesh, images: Sequence[VoxelImage], measured: Sequence[Mapping[str, Any]]
) -> HomogenisedCell:
    """What the images are to the homogenised model, with the transport that `microstructure.json` has of each."""
    transport = [each["transport"] for each in measured]
    conduction = [Conduction(each["ionic"]["b"], each["electronic"]["sigma_eff_S_m"]) for each in transport]
    return homogenise(cell, mesh, images, conduction)


def missing_paths(found: HomogenisedCell, cell: HalfCell | FullCell) -> Iterator[str]:
    """A sentence for each way that ions or electrons cannot go through an electrode from one end to the other."""
    for electrode, each in zip(cell.electrodes, found.electrodes, strict=True):
        for value, what in ((each.b, "electrolyte"), (each.conductivity, "conducting solid")):
            if value == 0.0:
                yield (
                    f"no path of {what} leads through the {electrode.name} electrode from the separator to the "
                    "collector, as the homogenised model takes for granted; use a larger image, or other fractions"
                )


def _climbed(
    resolved: ResolvedRun, name: str, parameters: P2DParameters, results: Path, report: Report, inputs: Inputs
) -> _Rung:
    """A rung of the ladder after the protocol of the case."""
    baseline = next((key for key, rung in BASELINES.items() if rung == name), None)
    folder, suffix = (results / LADDER, f"_{_slug(name)}") if baseline is None else (results, f"_{baseline}")
    cell = P2DCell(parameters)
    ended = run_cell(
        resolved.case,
        cell,
        folder,
        report,
        inputs,
        resolved.start,
        resolved.current_1C,
        suffix=suffix,
        checkpoints=False,
    )
    return _Rung(cell, ended, folder / f"timeseries{suffix}.csv")


def _exchanged(resolved: ResolvedRun, parameters: P2DParameters, results: Path) -> list[str]:
    """Write the image-based cell for others; returns what to say of what could not be written."""
    one_c, notes = resolved.current_1C, []
    try:
        write_p2d_as_bpx(results / BPX_FILE, resolved.case, parameters, resolved.start, one_c)
    except CaseError as error:  # a material that BPX has no place for costs the file, not the run
        notes.append(f"{BPX_FILE} was not written: {error}")
    title = resolved.case.name
    write_pybamm_module(results / PYBAMM_FILE, parameters, title=title, x_start=resolved.start, one_c=one_c)
    return notes


def _compared(
    results: Path, climbed: Mapping[str, _Rung], number: int, current_1C: float, n_rungs: int
) -> dict[str, Any]:
    """The gaps over one step of the protocol, as numbers and as gap.csv, of the baselines that have the step.

    The ladder is empty where one of its rungs lacks it. InputError where the curves are too short to be compared.
    """
    resolved = curve_of(read_table(results / "timeseries.csv"), number)
    curves = {name: curve_of(read_table(rung.table), number) for name, rung in climbed.items()}
    known: dict[str, Curve] = {name: curve for name, curve in curves.items() if curve is not None}
    chosen = {name: known[rung] for name, rung in BASELINES.items() if rung in known}
    if resolved is None or not chosen:
        return {}
    rate = resolved.mean_current / current_1C
    common = common_capacities([resolved, *known.values()], rate)
    pairwise = {name: common_capacities([resolved, curve], rate) for name, curve in chosen.items()}
    columns, rows = gap_rows(resolved, chosen, common)
    with TableWriter(results / "gap.csv", columns) as table:
        for row in rows[:: max(1, len(rows) // 400)]:
            table.append(dict(zip(columns, map(float, row), strict=True)))
    return {
        "baselines": {
            name: gap(resolved, curve, pairwise[name]) | _plating(climbed[BASELINES[name]])
            for name, curve in chosen.items()
        },
        "ladder": rungs([*known, "resolved"], [*known.values(), resolved], common) if len(known) == n_rungs else [],
        "compared_step": number,
    }


def _plating(rung: _Rung) -> dict[str, Any]:
    """How near lithium came to plating in a homogenised full cell; nothing of a half cell."""
    if len(rung.cell.electrodes) == 1:
        return {}
    entries = full_cell_entries(rung.cell, rung.ended.tally, LinePlaces(rung.cell.network, rung.cell.layout))
    return {"plating_margin": entries["plating_margin"]}


def _as_json(resolved: ResolvedRun, found: HomogenisedCell, climbed: Mapping[str, _Rung]) -> dict[str, Any]:
    """What each image is to the homogenised model, by electrode in a full cell, how each rung ended, and its limit."""
    stops = {name: rung.ended.reason for name, rung in climbed.items()}
    limits = {
        name: salt_limited_current(climbed[rung].cell.parameters) for name, rung in BASELINES.items() if rung in climbed
    }
    limited = {name: {"current_A_m2": limit, "rate_C": limit / resolved.current_1C} for name, limit in limits.items()}
    names = [electrode.name for electrode in resolved.cell.electrodes]
    told = {name: _numbers(each) for name, each in zip(names, found.electrodes, strict=True)}
    return told.get("working", told) | {"stops": stops, "salt_limited": limited}


def _numbers(found: Homogenised) -> dict[str, Any]:
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
    }


def _slug(rung: str) -> str:
    """A rung's name in a file's name."""
    return re.sub(r"[^a-z]+", "_", rung.lower()).strip("_")
