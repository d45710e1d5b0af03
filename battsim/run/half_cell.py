"""What a resolved half cell is built of, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from battsim.case import ResolvedCase, initial_stoichiometries
from battsim.models.resolved.half_cell import HalfCell
from battsim.output.fields import FieldWriter
from battsim.output.gap_pictures import draw_baselines
from battsim.output.pictures import field_sections, voltage_curve
from battsim.output.tables import read_table
from battsim.post.heat import heat_density
from battsim.post.microstructure import microstructure
from battsim.run.build import build_mesh, cell_image, fine_image, half_cell_parameters, orientation
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.run.drawing import drawing
from battsim.run.memory import refuse_too_large
from battsim.run.merging import left_out_voxels, merged_cells, merging, merging_warnings
from battsim.run.resolved import BuiltCell, Saved
from battsim.run.sinks import Report
from battsim.threads import Team
from meshing.image import VoxelImage
from meshing.merge import Merged


@contextmanager
def built_half_cell(case: ResolvedCase, report: Report, measured: dict[str, Any] | None = None) -> Iterator[BuiltCell]:
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
        warnings = (*coarsening_warnings(measured), *merging_warnings(measured))
        writer = partial(_field_writer, case, cell, merged, image)
        yield BuiltCell(cell, merged.mesh, (image,), measured, (measured,), warnings, writer)


def _field_writer(
    case: ResolvedCase,
    cell: HalfCell,
    merged: Merged,
    image: VoxelImage,
    fields: Sequence[str],
    folder: Path,
    saved: Saved,
) -> FieldWriter:
    return FieldWriter(
        folder,
        fields,
        cell,
        merged.mesh,
        cell_of=merged.cell_of,
        n_layers=merged.mesh.grid_shape[0] - image.shape[0],
        orientation=orientation(case),
        saved=saved,
        heat=partial(heat_density, cell, merged.mesh),
    )


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
