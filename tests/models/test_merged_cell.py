"""The half cell on merged cells: it balances as on voxels, and discharges like it."""

import numpy as np
import pytest
from scipy import ndimage

from battsim.models.cell.equations import Rate
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.places import MeshPlaces
from battsim.solvers.block import BlockSolver
from meshing.image import VoxelImage
from meshing.merge import merged_mesh
from meshing.voxel import voxel_mesh

H = 0.4e-6


def electrode():
    """A grain of 6 voxels radius in pore, before a block that has room for cells merged twice, and binder between."""
    place = np.indices((30, 14, 14))
    labels = np.zeros(place.shape[1:], np.uint8)
    labels[np.sum((place - np.reshape((4, 6, 6), (3, 1, 1, 1))) ** 2, axis=0) <= 36] = 1
    labels[12:] = 1
    near = ndimage.binary_dilation(labels == 1, iterations=1) & (labels == 0)
    labels[near & (place[0] > 8)] = 2
    return voxel_mesh(VoxelImage(labels, (H,) * 3, ("pore", "active", "binder")), layers=(3e-6, 1e-6), inside="active")


@pytest.fixture(scope="module")
def cells(resolved):
    fine = electrode()
    meshes = [fine, merged_mesh(fine, 1).mesh, merged_mesh(fine, 2).mesh]
    return [HalfCell(mesh, resolved.make_parameters()) for mesh in meshes]


def test_unknowns_are_saved_and_nothing_else(cells) -> None:
    fine, once, twice = cells
    assert twice.layout.size < once.layout.size < 0.85 * fine.layout.size
    for cell in (once, twice):
        assert cell.capacity == pytest.approx(fine.capacity, rel=1e-13)
        assert cell.salt_capacity.sum() == pytest.approx(fine.salt_capacity.sum(), rel=1e-13)
        assert np.array_equal(cell.network.reactive.area, fine.network.reactive.area)


def test_merged_cells_balance_in_any_state(cells) -> None:
    for cell in cells[1:]:
        layout, network, rng = cell.layout, cell.network, np.random.default_rng(5)
        u, reference = cell.uniform_state(0.5)
        u[layout.x] = rng.uniform(0.3, 0.7, layout.n_solid)
        u[layout.c_e] = rng.uniform(500.0, 1500.0, layout.n_electrolyte)
        u[layout.potentials] = rng.uniform(-0.03, 0.03, layout.size - layout.potentials.start)
        rate, current = Rate(0.05, cell.uniform_state(0.5)[0]), 1e-9
        e = cell.evaluate(u, reference, rate, current)
        r, change = e.residual, rate.a * (u - rate.u_star)
        reacted = np.sum(network.reactive.area * e.reaction.j)
        dissolved = np.sum(network.counter.area * e.counter.j)
        lithium, salt = cell.solid_capacity @ change[layout.x], cell.salt_capacity @ change[layout.c_e]
        for total, parts in (
            (r[layout.x].sum(), (lithium, reacted)),
            (r[layout.c_e].sum(), (salt, -reacted, -dissolved)),
            (r[layout.phi_s].sum() + r[layout.V], (reacted, current)),
            (r[layout.phi_e].sum(), (-reacted, -dissolved)),
        ):
            # round-off of sums in which the fluxes between cells, far larger than the total, cancel
            assert total == pytest.approx(sum(parts), abs=1e-14 * np.abs(r).sum())


def test_places_of_merged_cells_are_amid_their_voxels(cells) -> None:
    fine, once, _ = cells
    voxels, merged = electrode(), merged_mesh(electrode())
    at_voxel = MeshPlaces(fine.network, fine.layout, voxels)
    at_cell = MeshPlaces(once.network, once.layout, merged.mesh)
    for unknown in np.flatnonzero(merged.level[once.network.solid_cells]).tolist():
        own = voxels.centre[merged.cell_of == once.network.solid_cells[unknown], 0]
        assert own.size == 8
        place = f"a cell of active {1e6 * (own.mean() - 4e-6):.1f} um from the separator"
        assert at_cell.of("x", unknown) == place
    for k in (0, -1):  # where nothing has merged, both say the same
        found = [places.of("x", range(cell.layout.n_solid)[k]) for places, cell in ((at_voxel, fine), (at_cell, once))]
        assert found[0] == found[1]


def test_merged_cells_discharge_like_their_voxels(cells, resolved) -> None:
    ends = []
    for cell in cells[::2]:
        run = resolved.discharge(
            cell,
            cell.capacity / 3600.0,
            limits=resolved.limits(time=300.0),
            settings=resolved.settings_of(1e-3, rtol=1e-6, balance=2e-9),
            linear=BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES),
        )
        ends.append(run.voltage())
        for step in run.steps:
            x = cell.layout.x
            entered = np.sum(cell.solid_capacity * step.a * (step.u[x] - step.u_star[x]))
            assert entered == pytest.approx(step.current, rel=1e-10)  # required of every step
    fine, merged = ends
    assert merged == pytest.approx(fine, abs=1e-3)  # 0.7 mV: a flat block that fills from one side, the worst of shapes
    assert merged != fine
