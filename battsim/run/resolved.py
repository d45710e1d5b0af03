"""A resolved cell, half or full, through its protocol, with everything that it leaves on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from battsim.case import FullCellCase, ResolvedCase, initial_stoichiometries
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.places import MeshPlaces
from battsim.output import checkpoint as store
from battsim.output.checkpoint import Checkpoint
from battsim.output.fields import FieldWriter, StackFields
from battsim.output.record import MICROSTRUCTURE_FILE, read_json, write_json
from battsim.post.full_cell import full_cell_entries
from battsim.post.geometry import mesh_geometry
from battsim.post.profiles import Profiles
from battsim.post.summary import summary
from battsim.run.baselines import ResolvedRun, run_baselines
from battsim.run.checkpoint import Inputs, progress_of
from battsim.run.engine import LONGEST_STEP, solver_of
from battsim.run.protocol import Run, one_c_of, run_protocol
from battsim.run.sinks import Report, open_sinks, part_of
from meshing.image import VoxelImage
from meshing.mesh import Mesh

AFTER_THE_CELL = 0.9
"""Share of the work that is done when the baselines begin, as progress tells it."""
Saved = tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class BuiltCell:
    """What runs of a case share that differ in the protocol alone.

    Attributes
    ----------
    mesh
        That the cell is solved on.
    images
        Of each electrode from the negative end on, in cell axes.
    measured
        Content of microstructure.json.
    by_electrode
        The same for each of the images.
    warnings
        What there is to say of the images.
    fields
        The writer of the named fields into a folder, from those on that are saved already.
    """

    cell: HalfCell | FullCell
    mesh: Mesh
    images: tuple[VoxelImage, ...]
    measured: dict[str, Any]
    by_electrode: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    fields: Callable[[Sequence[str], Path, Saved], FieldWriter | StackFields]


def run_resolved(
    case: ResolvedCase | FullCellCase,
    built: BuiltCell,
    results: Path,
    report: Report,
    inputs: Inputs,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """Summary of a resolved cell after its protocol, from its start or from a checkpoint.

    Parameters
    ----------
    built
        Of this case, but for the protocol.

    Raises
    ------
    ImpossibleError
        Where a step of the protocol cannot begin.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    cell, mesh = built.cell, built.mesh
    x_start = initial_stoichiometries(case, tuple(electrode.material for electrode in cell.electrodes))
    write_json(results / MICROSTRUCTURE_FILE, built.measured)
    progress = None if checkpoint is None else progress_of(checkpoint)
    places = MeshPlaces(cell.network, cell.layout, mesh)
    with ExitStack() as stack:
        fields = built.fields(case.output.fields, results / "fields", () if progress is None else progress.fields)
        own = part_of(report, 0.0, AFTER_THE_CELL if case.model.baseline else 1.0)
        sinks = open_sinks(results, stack, own, len(cell.electrodes), fields=fields, progress=progress)
        if checkpoint is not None:
            store.remove_after(checkpoint)
            report(0.0, f"goes on at t = {checkpoint.content['time_s']:.6g} s")
        run = Run(
            case,
            inputs,
            cell,
            solver_of(case, mesh, cell),
            Profiles(cell, mesh, cell.network.determined.at_counter[cell.network.electrolyte_cells]),
            places,
            sinks,
            one_c_of(case, cell),
            LONGEST_STEP[case.model.engine],
        )
        ended = run_protocol(run, x_start, progress)
    found = summary(
        cell,
        mesh_geometry(cell, mesh),
        ended.tally,
        protocol_step=ended.number,
        reason=ended.reason,
        current_1C=run.one_c / cell.network.cross_section,
    )
    found["stop"]["message"] = where_it_ends(found, ended.place)
    warnings = [*found["warnings"], *built.warnings]
    if isinstance(cell, FullCell):
        found |= full_cell_entries(cell, ended.tally, places)
        warnings += _unbalanced(found["capacity_ratio"])
    if case.model.baseline:
        resolved = ResolvedRun(case, cell, mesh, built.images, built.by_electrode, x_start, run.one_c)
        beside = run_baselines(resolved, results, part_of(report, AFTER_THE_CELL, 1.0), inputs)
        warnings += beside.pop("notes")
        found |= beside
    return found | {"warnings": warnings}


def measured_before(results: Path) -> dict[str, Any] | None:
    """What the run that left a checkpoint measured of its images; None where that is gone."""
    return read_json(results / MICROSTRUCTURE_FILE)


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


def _unbalanced(ratio: float) -> list[str]:
    if ratio >= 1.0:
        return []
    return [
        f"the negative electrode holds {ratio:.3f} of what the positive one does: it is full before the positive one "
        "is empty, and lithium plates where a charge goes on"
    ]
