"""The cells that a resolved cell is solved on: voxels, or merged away from every change of phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from battsim.case import FullCellCase, ResolvedCase
from battsim.models.resolved.network import ACTIVE, BINDER, PORE
from battsim.models.resolved.potentials import Determined, LeftOut
from battsim.run.place import named_after
from meshing.image import VoxelImage
from meshing.merge import Merged, merged_counts, merged_mesh
from meshing.mesh import Mesh

MERGING = (ACTIVE, PORE, BINDER)
"""Phases of an electrode whose cells merge; the separator has graded layers."""


def merged_cells(case: ResolvedCase | FullCellCase, mesh: Mesh) -> Merged:
    """The mesh to solve on, and which of its cells each voxel belongs to; the mesh itself where nothing is to merge.

    Raises
    ------
    MeshError
        Where voxels are too far from cubes.
    """
    prefixes = [f"{name} " for name in case.electrodes] if isinstance(case, FullCellCase) else [""]
    with named_after(case, f"[solver] merge = {case.solver.merge}"):
        return merged_mesh(mesh, case.solver.merge, [prefix + phase for prefix in prefixes for phase in MERGING])


def cells_of_image(image: VoxelImage, start: int, merge: int) -> dict[str, int]:
    """Cells of each phase that an image in cell axes becomes, as `[solver] merge` says, before there is a mesh.

    `start`: planes of the mesh in front of the image.
    """
    return merged_counts(image, start, merge, MERGING)


def merging(merged: Merged, case: ResolvedCase | FullCellCase, electrode: str = "") -> dict[str, Any]:
    """Entry "merging" of microstructure.json; empty where nothing is to merge.

    How many voxels have merged, into how many cells, and their share of each phase. `electrode`: which one's, of a full
    cell.
    """
    if case.solver.merge == 0:
        return {}
    mesh, prefix = merged.mesh, f"{electrode} " if electrode else ""
    voxels, wide = merged.voxels, merged.level > 0
    counts = {}
    for phase in MERGING:
        if prefix + phase in mesh.phases:
            inside = mesh.in_phase(prefix + phase)
            counts[phase] = [int(n) for n in (voxels[inside & wide].sum(), (inside & wide).sum(), voxels[inside].sum())]
    return {
        "merging": {
            "voxels": sum(count[0] for count in counts.values()),
            "cells": sum(count[1] for count in counts.values()),
            "shares": {phase: count[0] / count[2] if count[2] else 0.0 for phase, count in counts.items()},
        }
    }


def merging_warnings(measured: dict[str, Any]) -> Iterator[str]:
    """One line where merging was asked for and found no room, as microstructure.json says."""
    entry = measured.get("merging")
    if entry is not None and entry["voxels"] == 0:
        yield (
            "solver.merge = 1 merged no voxels: a cell needs 2 x 2 x 2 of one phase with more of it on every side, and "
            "nothing here is so wide; the numbers are those of merge = 0"
        )


def left_out_voxels(determined: Determined, merged: Merged) -> list[LeftOut]:
    """What a cell left out, counted in voxels instead of cells."""
    kept = {"phi_s": determined.electronic, "phi_e": determined.ionic}
    return [
        replace(part, cells=int(merged.voxels[~kept[part.potential] & merged.mesh.in_phase(part.phase)].sum()))
        for part in determined.left_out
    ]
