"""Planes of merged cells: what is summed over them is what the cells hold."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from battsim.models.cell.equations import Rate
from battsim.models.resolved.half_cell import HalfCell
from battsim.post.heat import IN_PLANES, HeatPlanes, heat_sources
from battsim.post.planes import planes_of
from battsim.post.profiles import Profiles
from meshing.image import VoxelImage
from meshing.merge import merged_mesh
from meshing.voxel import voxel_mesh

LAYERS = (3e-6, 2e-6, 1e-6)


def electrode(size=(1e-6, 1.1e-6, 0.9e-6)):
    """Active material with a wide pore in it, and a little binder where both meet."""
    labels = np.ones((15, 12, 11), np.uint8)
    labels[:9, 2:10, 1:8] = 0
    labels[9, 3:6, 2:5] = 2
    return voxel_mesh(VoxelImage(labels, size, ("pore", "active", "binder")), layers=LAYERS, inside="active")


@pytest.fixture(scope="module")
def made(half_cell):
    """Voxels, the cell on merged cells and the cell of each voxel, and a state that differs in every unknown."""
    fine = electrode()
    merged = merged_mesh(fine)
    assert {merged.mesh.phases[k] for k in merged.mesh.phase[merged.level > 0]} == {"pore", "active"}
    cell = HalfCell(merged.mesh, half_cell.make_parameters())
    rng = np.random.default_rng(4)
    u, reference = cell.uniform_state(0.4)
    u[cell.layout.x] += 0.1 * rng.random(cell.layout.n_solid)
    u[cell.layout.c_e] += 100.0 * rng.random(cell.layout.n_electrolyte)
    u[cell.layout.potentials] += 0.01 * rng.random(u[cell.layout.potentials].size)
    evaluation = cell.evaluate(u, reference, Rate(0.0, u), 0.0)
    return SimpleNamespace(fine=fine, merged=merged, mesh=merged.mesh, cell=cell, state=(u, reference, evaluation))


def test_planes_are_those_of_the_voxels(made):
    own, whole = planes_of(made.mesh), planes_of(made.fine)
    assert own.count == whole.count == 15 + len(LAYERS)
    np.testing.assert_allclose(own.volume, whole.volume, rtol=1e-13)
    np.testing.assert_allclose(own.depth, whole.depth, rtol=1e-13)
    assert np.array_equal(whole.first, whole.last)
    place = made.fine.position[:, 0]
    for planes, extreme in ((own.first, np.minimum), (own.last, np.maximum)):
        found = np.full(made.mesh.n_cells, -1 if extreme is np.maximum else 99)
        extreme.at(found, made.merged.cell_of, place)
        assert np.array_equal(planes, found)


def test_cells_merged_twice_have_no_planes():
    twice = merged_mesh(voxel_mesh(VoxelImage(np.ones((20, 12, 12), np.uint8), (1e-6,) * 3, ("pore", "active"))), 2)
    assert twice.level.max() == 2
    with pytest.raises(AssertionError, match="in one plane or in two"):
        planes_of(twice.mesh)


def test_statistics_count_each_cell_by_its_voxels_in_a_plane(made):
    cell, (u, reference, evaluation) = made.cell, made.state
    n, plane = made.mesh.grid_shape[0], made.fine.position[:, 0]
    rows = list(Profiles(cell, made.mesh).rows(0.0, u, reference, evaluation))
    network, layout = cell.network, cell.layout
    for name, cells, weight, values in (
        ("x", network.solid_cells, network.solid_volume, u[layout.x]),
        ("c_e_mol_m3", network.electrolyte_cells, network.electrolyte_volume, u[layout.c_e]),
        ("phi_s_V", network.electronic_cells, made.mesh.volume[network.electronic_cells], u[layout.phi_s] + reference),
    ):
        inventory = 0.0
        unknown = np.full(made.mesh.n_cells, -1)
        unknown[cells] = np.arange(cells.size)
        for k in range(n):
            inside, voxels = np.unique(unknown[made.merged.cell_of[plane == k]], return_counts=True)
            voxels, inside = voxels[inside >= 0], inside[inside >= 0]
            if not inside.size:
                assert np.isnan(rows[k][f"{name}_mean"])
                continue
            w = weight[inside] * voxels / made.merged.voxels[cells[inside]]
            mean = np.average(values[inside], weights=w)
            std = np.sqrt(np.average((values[inside] - mean) ** 2, weights=w))
            expected = mean, std, values[inside].min(), values[inside].max()
            found = [rows[k][f"{name}_{each}"] for each in ("mean", "std", "min", "max")]
            assert found == pytest.approx(expected, rel=1e-12)
            inventory += w.sum() * rows[k][f"{name}_mean"]
        assert inventory == pytest.approx(weight @ values, rel=1e-13)


def test_pores_without_a_way_to_the_counter_electrode_are_no_part_of_a_profile(made):
    cell, (u, reference, evaluation) = made.cell, made.state
    connected = np.random.default_rng(2).random(cell.layout.n_electrolyte) < 0.7
    partly = u.copy()
    partly[cell.layout.c_e][~connected] = np.nan  # would show wherever it counted
    rows = list(Profiles(cell, made.mesh, connected).rows(0.0, partly, reference, evaluation))
    every = list(Profiles(cell, made.mesh).rows(0.0, u, reference, evaluation))
    planes, cells = planes_of(made.mesh), cell.network.electrolyte_cells
    weight, c_e = cell.network.electrolyte_volume, u[cell.layout.c_e]
    changed = 0
    for k, row in enumerate(rows):
        inside = connected & (planes.first[cells] <= k) & (k <= planes.last[cells])
        if not inside.any():
            assert np.isnan(row["c_e_mol_m3_mean"])
            continue
        w = weight[inside] / (planes.last - planes.first + 1)[cells[inside]]
        assert row["c_e_mol_m3_mean"] == pytest.approx(np.average(c_e[inside], weights=w), rel=1e-12)
        assert row["c_e_mol_m3_max"] == c_e[inside].max()
        changed += row["c_e_mol_m3_mean"] != every[k]["c_e_mol_m3_mean"]
    assert changed > 5
    assert [row["x_mean"] for row in rows] == pytest.approx([row["x_mean"] for row in every], nan_ok=True)


def test_reaction_and_heat_lose_nothing_between_planes(made):
    cell, (u, reference, evaluation) = made.cell, made.state
    sources = heat_sources(cell, u, evaluation)
    of_planes = HeatPlanes(cell, made.mesh).of(sources)
    ionic, electronic = sources.ionic, sources.electronic
    totals = {
        "ionic": ionic.total,
        "electronic": electronic.total,
        "reaction": sources.reaction.sum(),
        "entropic": sources.entropic.sum(),
        "mixing": sources.mixing.sum() + sources.mixing_at_surface.sum(),
    }
    assert set(totals) == set(IN_PLANES)
    for name, total in totals.items():
        size = np.abs(of_planes[name]).sum()
        assert of_planes[name].sum() == pytest.approx(total, abs=1e-13 * size)
    rows = list(Profiles(cell, made.mesh).rows(0.0, u, reference, evaluation))
    volume = planes_of(made.fine).volume
    reacted = np.sum(cell.network.reactive.area * evaluation.reaction.j)
    assert volume @ [row["reaction_A_m3"] for row in rows] == pytest.approx(reacted, rel=1e-12)
    assert volume @ [row["heat_W_m3"] for row in rows] == pytest.approx(sum(totals.values()), rel=1e-12)


def test_the_heat_of_an_even_current_is_as_even_as_on_voxels(made, half_cell):
    """A potential that falls evenly through the planes loses in each plane what it loses on voxels, face by face."""
    found = []
    for cell, mesh in ((made.cell, made.mesh), (HalfCell(made.fine, half_cell.make_parameters()), made.fine)):
        faces, x = cell.network.electronic_faces, mesh.centre[cell.network.electronic_cells, 0]
        u, _ = cell.uniform_state(0.4)
        sources = heat_sources(cell, u, cell.evaluate(u, 0.0, Rate(0.0, u), 0.0))
        lost = 1e10 * faces.conductance * (x[faces.owner] - x[faces.neighbour]) ** 2
        parts = {name: np.zeros_like(getattr(sources.electronic, name)) for name in ("reactive", "collector", "ground")}
        even = replace(sources, electronic=replace(sources.electronic, faces=lost, **parts))
        found.append(HeatPlanes(cell, mesh).of(even)["electronic"])
    merged, voxels = found
    np.testing.assert_allclose(merged, voxels, rtol=1e-12)
    assert np.count_nonzero(voxels) == 15
