"""What is said about where: the largest residual, the largest error, and where the physics ends."""

from dataclasses import replace

import numpy as np
import pytest

from battsim.models.cell.equations import Rate
from battsim.models.cell.transient import CellTransient
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.places import MeshPlaces
from meshing.image import VoxelImage
from meshing.voxel import voxel_mesh

LAYERS = (3e-6, 2e-6, 1e-6)
LABELS = np.array([0, 0, 1, 2, 1], np.uint8).reshape(5, 1, 1)
"""Pore, active material, binder and active material in a row, 1 um each, behind 6 um of separator."""


@pytest.fixture(scope="module")
def case(resolved):
    image = VoxelImage(LABELS, (1e-6,) * 3, resolved.phases)
    mesh = voxel_mesh(image, layers=LAYERS, inside="active")
    cell = HalfCell(mesh, resolved.make_parameters())
    u, reference = cell.uniform_state(0.5)
    return mesh, cell, u, cell.evaluate(u, reference, Rate(0.0, u), 0.0)


def unknowns(cell):
    """Index in the state, and what is to be said of it."""
    layout = cell.layout
    pore, binder = "a cell of pore {} um from the separator", "a cell of binder 3.5 um from the separator"
    separator = "the separator, {} um in front of the electrode"
    yield layout.x.start, "x of a cell of active 2.5 um from the separator"
    yield layout.x.stop - 1, "x of a cell of active 4.5 um from the separator"
    for field in ("c_e", "phi_e"):
        first = getattr(layout, field).start
        places = [separator.format("4.5"), separator.format("2.0"), separator.format("0.5")]
        places += [pore.format("0.5"), pore.format("1.5"), binder]
        assert getattr(layout, field).stop - first == len(places)
        yield from ((first + k, f"{field} of {place}") for k, place in enumerate(places))
    yield layout.phi_s.start + 1, f"phi_s of {binder}"
    yield layout.V, "the terminal voltage"


def test_the_largest_residual_is_told_by_field_phase_and_depth(case):
    mesh, cell, _, evaluation = case
    transient = CellTransient(cell, 1e-9, MeshPlaces(cell.network, cell.layout, mesh))
    for index, place in unknowns(cell):
        for value in (-1.0, np.nan):
            residual = np.full(cell.layout.size, 0.5)
            residual[index] = value
            assert transient.worst(replace(evaluation, residual=residual)) == place


def test_the_largest_error_is_told_in_the_unit_of_its_field(case):
    mesh, cell, _, _ = case
    transient, layout = CellTransient(cell, 1e-9, MeshPlaces(cell.network, cell.layout, mesh)), cell.layout
    difference = np.full(layout.size, 1e-6)
    difference[layout.phi_e] = difference[layout.phi_s] = 1.0  # follow from the others, and do not count
    difference[layout.c_e.start + 3] = 2e-3 * cell.parameters.salt
    difference[layout.x.start] = 1e-3
    assert transient.farthest(difference) == "c_e of a cell of pore 0.5 um from the separator"
    difference[layout.x.start] = -3e-3
    assert transient.farthest(difference) == "x of a cell of active 2.5 um from the separator"
    difference[layout.V] = 4e-3
    assert transient.farthest(difference) == "the terminal voltage"


def test_without_a_mesh_cells_are_numbered(case):
    _, cell, u, _ = case
    difference = np.zeros_like(u)
    difference[cell.layout.x.start] = 1.0
    assert CellTransient(cell, 1e-9).farthest(difference) == "x of cell 0"


def test_where_the_physics_ends(case):
    mesh, cell, u, evaluation = case
    transient, layout = CellTransient(cell, 1e-9, MeshPlaces(cell.network, cell.layout, mesh)), cell.layout
    assert transient.exhausted(u, evaluation) is None
    poor = u.copy()
    poor[layout.c_e.start + 4] = 3.0
    told = "the salt falls to 3 mol/m3 in a cell of pore 1.5 um from the separator"
    assert transient.exhausted(poor, evaluation) == ("salt depletion", told)
    counter, reaction = evaluation.counter, evaluation.reaction
    # at the lithium, in charge: its surface alone
    plated = replace(evaluation, counter=replace(counter, c_surface=np.array([0.25])))
    told = "the salt falls to 0.25 mol/m3 in the separator, 4.5 um in front of the electrode"
    assert transient.exhausted(u, plated) == ("salt depletion", told)
    for value, name in ((0.995, "full"), (0.004, "empty")):
        surface = np.full_like(reaction.x_surface, 0.5)
        surface[-1] = value
        at = cell.network.solid_cells[cell.network.reactive.solid[-1]]
        depth = 1e6 * mesh.centre[at, 0] - 6.0
        told = f"the surface is {name} (x = {value:.6f}) in a cell of active {depth:.1f} um from the separator"
        found = transient.exhausted(u, replace(evaluation, reaction=replace(reaction, x_surface=surface)))
        assert found == ("solid saturation", told)


def test_a_state_between_two_is_inside_the_physical_range_and_leaves_no_trace(case):
    mesh, cell, u, evaluation = case
    transient, layout = CellTransient(cell, 1e-9, MeshPlaces(cell.network, cell.layout, mesh)), cell.layout
    inside, found = transient.between(u, 4.0, evaluation, u)
    assert np.array_equal(inside, u)
    assert found.current == evaluation.current
    beyond = u.copy()
    beyond[layout.c_e], beyond[layout.x] = -1.0, 1.2
    inside, found = transient.between(beyond, 4.0, evaluation, u)
    assert inside[layout.c_e].min() > 0.0
    assert inside[layout.x].max() < 1.0
    assert np.isfinite(found.reaction.j).all()
    assert transient._guess is None
