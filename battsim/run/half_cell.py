"""A resolved half cell through its protocol, with everything that it leaves on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from battsim.case import ResolvedCase, initial_stoichiometries
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.places import MeshPlaces
from battsim.output import checkpoint as store
from battsim.output.checkpoint import Checkpoint
from battsim.output.fields import FieldWriter
from battsim.output.gap_pictures import draw_baselines
from battsim.output.pictures import field_sections, voltage_curve
from battsim.output.record import write_json
from battsim.output.tables import read_table
from battsim.post.geometry import mesh_geometry
from battsim.post.microstructure import microstructure
from battsim.post.profiles import Profiles
from battsim.post.summary import summary
from battsim.run.baselines import ResolvedRun, run_baselines
from battsim.run.build import build_mesh, cell_image, fine_image, half_cell_parameters, orientation
from battsim.run.checkpoint import Inputs, Progress, progress_of
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.run.drawing import drawing
from battsim.run.engine import LONGEST_STEP, solver_of
from battsim.run.memory import refuse_too_large
from battsim.run.merging import left_out_voxels, merged_cells, merging, merging_warnings
from battsim.run.protocol import Run, one_c_of, run_protocol
from battsim.run.sinks import Report, open_sinks, part_of
from battsim.threads import Team
from meshing.image import VoxelImage
from meshing.mesh import Ints, Mesh

AFTER_THE_CELL = 0.9
"""Share of the work that is done when the baselines begin, as progress tells it."""


@dataclass(frozen=True, slots=True, eq=False)
class BuiltHalfCell:
    """What runs of a case share that differ in the protocol alone.

    Attributes
    ----------
    image
        In cell axes.
    mesh, cell_of
        The mesh that the cell is solved on, and which of its cells each voxel and layer belongs to.
    measured
        Content of microstructure.json.
    """

    image: VoxelImage
    mesh: Mesh
    cell_of: Ints
    cell: HalfCell
    measured: dict[str, Any]


@contextmanager
def built_half_cell(
    case: ResolvedCase, report: Report, measured: dict[str, Any] | None = None
) -> Iterator[BuiltHalfCell]:
    """Image, mesh, cell and microstructure of a case; the cell's threads live as long as the block.

    Parameters
    ----------
    measured
        Content of microstructure.json, where it is known already.

    Raises
    ------
    ImageError, LabelError, MeshError, ResourceError
        As `build_image`, and where the cell would not fit into memory.
    ImpossibleError
        Where no current can flow.
    """
    with Team(case.solver.threads) as team:
        report(0.0, "image and mesh")
        parameters = half_cell_parameters(case)
        initial_stoichiometries(case, (parameters.active,))  # refuses a start that is none before anything is built
        fine = fine_image(case)
        image = cell_image(case, fine)
        refuse_too_large(case, image)
        mesh = build_mesh(case, image)
        merged = merged_cells(case, mesh)
        cell = HalfCell(merged.mesh, parameters, team)
        if measured is None:
            report(0.0, f"microstructure of {image.labels.size} voxels")
            left_out = left_out_voxels(cell.network.determined, merged)
            measured = microstructure(image, mesh, parameters, orientation=orientation(case), left_out=left_out)
            measured = measured | coarsening(case.image.coarsen, fine) | merging(merged, case)
        del mesh  # of the voxels: not kept beside the merged one
        yield BuiltHalfCell(image, merged.mesh, merged.cell_of, cell, measured)


def run_half_cell(
    case: ResolvedCase,
    results: Path,
    report: Report,
    inputs: Inputs,
    checkpoint: Checkpoint | None = None,
    built: BuiltHalfCell | None = None,
) -> dict[str, Any]:
    """Summary of a resolved half cell after its protocol, from its start or from a checkpoint.

    Parameters
    ----------
    built
        Of this case, but for the protocol; None: built here.

    Raises
    ------
    ImpossibleError
        Where no current can flow.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    if built is not None:
        return _run_half_cell(case, results, report, inputs, checkpoint, built)
    with built_half_cell(case, report, None if checkpoint is None else measured_before(results)) as built:
        return _run_half_cell(case, results, report, inputs, checkpoint, built)


def _run_half_cell(
    case: ResolvedCase,
    results: Path,
    report: Report,
    inputs: Inputs,
    checkpoint: Checkpoint | None,
    built: BuiltHalfCell,
) -> dict[str, Any]:
    image, mesh, cell, measured = built.image, built.mesh, built.cell, built.measured
    x_start = initial_stoichiometries(case, (cell.parameters.active,))
    write_json(results / "microstructure.json", measured)
    progress = None if checkpoint is None else progress_of(checkpoint)
    with ExitStack() as stack:
        fields = _field_writer(case, results, built, progress)
        own = part_of(report, 0.0, AFTER_THE_CELL if case.model.baseline else 1.0)
        sinks = open_sinks(results, stack, own, 1, fields=fields, progress=progress)
        if checkpoint is not None:
            store.remove_after(checkpoint)
            report(0.0, f"goes on at t = {checkpoint.content['time_s']:.6g} s")
        run = Run(
            case,
            inputs,
            cell,
            solver_of(case, mesh, cell),
            Profiles(cell, mesh),
            MeshPlaces(cell.network, cell.layout, mesh),
            sinks,
            one_c_of(case, cell),
            LONGEST_STEP[case.model.engine],
        )
        ended = run_protocol(run, x_start, progress)
    current_1C = run.one_c / cell.network.cross_section
    found = summary(
        cell,
        mesh_geometry(cell, mesh),
        ended.tally,
        protocol_step=ended.number,
        reason=ended.reason,
        current_1C=current_1C,
    )
    found["stop"]["message"] = where_it_ends(found, ended.place)
    found |= {"warnings": [*found["warnings"], *coarsening_warnings(measured), *merging_warnings(measured)]}
    if case.model.baseline:
        rest = part_of(report, AFTER_THE_CELL, 1.0)
        resolved = ResolvedRun(case, cell, mesh, (image,), (measured,), x_start, run.one_c)
        beside = run_baselines(resolved, results, rest, inputs)
        found |= beside | {"warnings": [*found["warnings"], *beside.pop("notes")]}
    return found


def measured_before(results: Path) -> dict[str, Any] | None:
    """What the run that left a checkpoint measured of its image; None where that is gone."""
    try:
        content = json.loads((results / "microstructure.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _field_writer(case: ResolvedCase, results: Path, built: BuiltHalfCell, progress: Progress | None) -> FieldWriter:
    return FieldWriter(
        results / "fields",
        case.output.fields,
        built.cell,
        built.mesh,
        cell_of=built.cell_of,
        n_layers=built.mesh.grid_shape[0] - built.image.shape[0],
        orientation=orientation(case),
        saved=() if progress is None else progress.fields,
    )


def where_it_ends(found: dict[str, Any], place: str) -> str | None:
    """What to say of the end of a run beside its reason: where the physics ends; None where it goes on."""
    reason, time = found["stop"]["reason"], found["stop"]["time_s"]
    if place:
        return f"{reason} at t = {time:.6g} s: {place}; at this current no more charge passes"
    if reason == "solid saturation":
        return (
            f"{reason} at t = {time:.6g} s: the limit of the voltage was met with most of the reacting surface outside "
            "the range in which its potential was fitted; choose a limit inside it"
        )
    return None


def draw_half_cell(case: ResolvedCase, results: Path, report: Report) -> None:
    """The voltage curve with its losses, sections through the last fields, and the gap to the baselines.

    The sections need both c_s and c_e in the fields.
    The numbers are on disk already: a picture that cannot be drawn is a line in the log, not a failed run.
    """
    with drawing(report):
        voltage_curve(results / "voltage.png", read_table(results / "timeseries.csv"), title=case.name)
        saved = sorted((results / "fields").glob("t_*.vti"))
        if saved and {"c_s", "c_e"} <= set(case.output.fields):
            field_sections(
                results / "sections.png",
                saved[-1],
                phases=case.image.phases,
                through_plane=case.image.through_plane,
                flipped=case.image.separator_side == "high",
                title=case.name,
            )
        if case.model.baseline:
            draw_baselines(results, title=case.name)
