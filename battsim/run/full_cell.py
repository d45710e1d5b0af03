"""What a resolved full cell is built of, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from battsim.case import FullCellCase, initial_stoichiometries
from battsim.models.resolved.full_cell import FullCell
from battsim.models.resolved.network import SEPARATOR
from battsim.models.resolved.potentials import LeftOut
from battsim.output.fields import FieldWriter, StackFields
from battsim.output.gap_pictures import draw_baselines
from battsim.output.pictures import field_sections, voltage_curve
from battsim.output.tables import read_table
from battsim.post.heat import heat_density
from battsim.post.microstructure import microstructure
from battsim.run.build import ElectrodeImage, electrode_images, electrode_mesh, full_cell_mesh, full_cell_parameters
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.run.drawing import drawing
from battsim.run.memory import refuse_too_large_stack
from battsim.run.merging import left_out_voxels, merged_cells, merging, merging_warnings
from battsim.run.resolved import BuiltCell, Saved
from battsim.run.sinks import Report
from battsim.threads import Team
from meshing.merge import Merged


@contextmanager
def built_full_cell(case: FullCellCase, report: Report, measured: dict[str, Any] | None = None) -> Iterator[BuiltCell]:
    """Images, mesh, cell and microstructures of a case, as `built_half_cell` gives them. Raises as that."""
    with Team(case.solver.threads) as team:
        report(0.0, "images and mesh")
        parameters = full_cell_parameters(case)
        initial_stoichiometries(case, (parameters.negative.active, parameters.positive.active))
        found = electrode_images(case)
        images = {name: each.image for name, each in found.items()}
        refuse_too_large_stack(case, images)
        merged = merged_cells(case, full_cell_mesh(case, images))
        cell = FullCell(merged.mesh, parameters, team)
        if measured is None:
            report(0.0, f"microstructure of {sum(image.labels.size for image in images.values())} voxels")
            measured = {name: _measured(case, name, each, cell, merged) for name, each in found.items()}
        yield BuiltCell(
            cell,
            merged.mesh,
            tuple(images.values()),
            measured,
            tuple(measured[name] for name in images),
            tuple(_warnings(found, measured)),
            partial(_field_writers, cell, merged, found),
        )


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
    cell: FullCell,
    merged: Merged,
    found: Mapping[str, ElectrodeImage],
    fields: Sequence[str],
    folder: Path,
    saved: Saved,
) -> StackFields:
    """A series for each electrode, in the axes of its own image."""
    negative, positive = found["negative"], found["positive"]
    # the mesh holds the negative image mirrored
    mirrored = replace(negative.orientation, flipped=not negative.orientation.flipped)
    mesh, cell_of = merged.mesh, merged.cell_of
    n_planes = mesh.grid_shape[0]
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
            heat=partial(heat_density, cell, mesh),
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
            heat=partial(heat_density, cell, mesh),
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
