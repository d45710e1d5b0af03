"""A resolved full cell through its protocol, with everything that it leaves on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from battsim.case import FullCellCase, initial_stoichiometries
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.network import SEPARATOR
from battsim.models.resolved.places import MeshPlaces
from battsim.models.resolved.potentials import LeftOut
from battsim.output import checkpoint as store
from battsim.output.checkpoint import Checkpoint
from battsim.output.fields import FieldWriter, StackFields
from battsim.output.gap_pictures import draw_baselines
from battsim.output.pictures import field_sections, voltage_curve
from battsim.output.record import write_json
from battsim.output.tables import read_table
from battsim.post.full_cell import full_cell_entries
from battsim.post.geometry import mesh_geometry
from battsim.post.microstructure import microstructure
from battsim.post.profiles import Profiles
from battsim.post.summary import summary
from battsim.run.baselines import ResolvedRun, run_baselines
from battsim.run.build import ElectrodeImage, electrode_images, electrode_mesh, full_cell_mesh, full_cell_parameters
from battsim.run.checkpoint import Inputs, Progress, progress_of
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.run.drawing import drawing
from battsim.run.half_cell import AFTER_THE_CELL, measured_before, where_it_ends
from battsim.run.memory import refuse_too_large_stack
from battsim.run.merging import left_out_voxels, merged_cells, merging, merging_warnings
from battsim.run.protocol import Run, one_c_of, run_protocol
from battsim.run.sinks import Report, open_sinks, part_of
from battsim.solvers.block import BlockSolver
from battsim.threads import Team
from meshing.merge import Merged


def run_full_cell(
    case: FullCellCase, results: Path, report: Report, inputs: Inputs, checkpoint: Checkpoint | None = None
) -> dict[str, Any]:
    """Summary of a resolved full cell after its protocol, from its start or from a checkpoint.

    Raises
    ------
    ImpossibleError
        Where no current can flow.
    NotConvergedError
        Where a solver gives up without a physical reason.
    """
    with Team(case.solver.threads) as team:
        return _run(case, results, report, inputs, checkpoint, team)


def _run(
    case: FullCellCase, results: Path, report: Report, inputs: Inputs, checkpoint: Checkpoint | None, team: Team
) -> dict[str, Any]:
    report(0.0, "images and mesh")
    found = electrode_images(case)
    images = {name: each.image for name, each in found.items()}
    refuse_too_large_stack(case, images)
    merged = merged_cells(case, full_cell_mesh(case, images))
    mesh = merged.mesh
    cell = FullCell(mesh, full_cell_parameters(case), team)
    x_start = initial_stoichiometries(case, tuple(electrode.material for electrode in cell.electrodes))
    measured = None if checkpoint is None else measured_before(results)
    if measured is None:
        report(0.0, f"microstructure of {sum(image.labels.size for image in images.values())} voxels")
        measured = {name: _measured(case, name, each, cell, merged) for name, each in found.items()}
        write_json(results / "microstructure.json", measured)
    progress = None if checkpoint is None else progress_of(checkpoint)
    places = MeshPlaces(cell.network, cell.layout, mesh)
    with ExitStack() as stack:
        fields = _field_writers(case, results, cell, merged, found, progress)
        own = part_of(report, 0.0, AFTER_THE_CELL if case.model.baseline else 1.0)
        sinks = open_sinks(results, stack, own, len(cell.electrodes), fields=fields, progress=progress)
        if checkpoint is not None:
            store.remove_after(checkpoint)
            report(0.0, f"goes on at t = {checkpoint.content['time_s']:.6g} s")
        linear = BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES, team=team)
        run = Run(case, inputs, cell, linear, Profiles(cell, mesh), places, sinks, one_c_of(case, cell))
        ended = run_protocol(run, x_start, progress)
    told = summary(
        cell,
        mesh_geometry(cell, mesh),
        ended.tally,
        protocol_step=ended.number,
        reason=ended.reason,
        current_1C=run.one_c / cell.network.cross_section,
    )
    told["stop"]["message"] = where_it_ends(told, ended.place)
    told |= full_cell_entries(cell, ended.tally, places)
    warnings = [*told["warnings"], *_warnings(found, measured), *_unbalanced(told["capacity_ratio"])]
    if case.model.baseline:
        resolved = ResolvedRun(
            case, cell, mesh, tuple(images.values()), tuple(measured[name] for name in images), x_start, run.one_c
        )
        beside = run_baselines(resolved, results, part_of(report, AFTER_THE_CELL, 1.0), inputs)
        warnings += beside.pop("notes")
        told |= beside
    return told | {"warnings": warnings}


def _measured(case: FullCellCase, name: str, found: ElectrodeImage, cell: FullCell, merged: Merged) -> dict[str, Any]:
    """What an electrode is made of, measured on its own image, with the separator in front of it."""
    image = found.image
    alone = electrode_mesh(image, case.materials.separator)
    left_out = [
        LeftOut(part.phase.removeprefix(f"{name} "), part.potential, part.cells, part.volume_share)
        for part in left_out_voxels(cell.network.determined, merged)
        if part.phase.startswith(f"{name} ")
    ]
    solids = {"negative": cell.parameters.negative, "positive": cell.parameters.positive}[name]
    told = microstructure(image, alone, solids, orientation=found.orientation, left_out=left_out)
    return told | coarsening(case.electrodes[name].image.coarsen, found.fine) | merging(merged, case, name)


def _field_writers(
    case: FullCellCase,
    results: Path,
    cell: FullCell,
    merged: Merged,
    found: Mapping[str, ElectrodeImage],
    progress: Progress | None,
) -> StackFields:
    """A series for each electrode, in the axes of its own image."""
    saved = () if progress is None else progress.fields
    negative, positive = found["negative"], found["positive"]
    # the mesh holds the negative image mirrored
    mirrored = replace(negative.orientation, flipped=not negative.orientation.flipped)
    mesh, cell_of = merged.mesh, merged.cell_of
    folder, fields, n_planes = results / "fields", case.output.fields, mesh.grid_shape[0]
    return StackFields(
        FieldWriter(
            folder / "negative",
            fields,
            cell,
            mesh,
            cell_of=cell_of,
            n_layers=0,
            n_planes=negative.image.shape[0],
            orientation=mirrored,
            saved=saved,
        ),
        FieldWriter(
            folder / "positive",
            fields,
            cell,
            mesh,
            cell_of=cell_of,
            n_layers=n_planes - positive.image.shape[0],
            first_phase=mesh.phases.index(SEPARATOR) + 1,
            orientation=positive.orientation,
            saved=saved,
        ),
    )


def _warnings(found: Mapping[str, ElectrodeImage], measured: Mapping[str, Any]) -> Iterator[str]:
    """What was cropped off, what coarsening changed, and where merging found no room."""
    for name, each in found.items():
        width, height = each.image.shape[1:]
        if each.across != (width, height):
            yield (
                f"the {name} image is {each.across[0]} x {each.across[1]} voxels across; it was cropped to the "
                f"{width} x {height} that both images have"
            )
        yield from (f"{name}: {line}" for line in coarsening_warnings(measured[name]))
        yield from (f"{name}: {line}" for line in merging_warnings(measured[name]))


def _unbalanced(ratio: float) -> Iterator[str]:
    if ratio < 1.0:
        yield (
            f"the negative electrode holds {ratio:.3f} of what the positive one does: it is full before the positive "
            "one is empty, and lithium plates where a charge goes on"
        )


def draw_full_cell(case: FullCellCase, results: Path, report: Report) -> None:
    """The voltage curve with its losses, sections through the last fields of each electrode, and the gap.

    The numbers are on disk already: a picture that cannot be drawn is a line in the log, not a failed run.
    """
    with drawing(report):
        voltage_curve(results / "voltage.png", read_table(results / "timeseries.csv"), title=case.name)
        for name, electrode in case.electrodes.items():
            saved = sorted((results / "fields" / name).glob("t_*.vti"))
            if saved and {"c_s", "c_e"} <= set(case.output.fields):
                field_sections(
                    results / f"sections_{name}.png",
                    saved[-1],
                    phases=electrode.image.phases,
                    through_plane=electrode.image.through_plane,
                    flipped=electrode.image.separator_side == "high",
                    title=f"{case.name}: {name} electrode" if case.name else f"{name} electrode",
                )
        if case.model.baseline:
            draw_baselines(results, title=case.name)
