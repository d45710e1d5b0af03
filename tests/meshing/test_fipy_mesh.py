"""The mesh in FiPy: the same geometry, and the same answer to the same equation."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from battsim.fvm.operators import face_conductance, jump
from meshing.errors import MeshError
from meshing.fipy_mesh import fipy_mesh, fipy_sheets
from meshing.image import VoxelImage
from meshing.voxel import graded_layers, voxel_mesh


@pytest.fixture(scope="module")
def mesh():
    labels = np.random.default_rng(0).integers(0, 2, (6, 5, 4)).astype(np.uint8)
    image = VoxelImage(labels, (1e-6, 2e-6, 3e-6), ("pore", "active"))
    return voxel_mesh(image, layers=graded_layers(9e-6, 4, 1e-6), inside="active")


@pytest.fixture(scope="module")
def twin(mesh):
    return fipy_mesh(mesh)


def test_cells_are_the_same(mesh, twin) -> None:
    # round-off of sums over six faces
    np.testing.assert_allclose(twin.cellVolumes, mesh.volume, rtol=1e-13)
    np.testing.assert_allclose(twin.cellCenters.value.T, mesh.centre, rtol=1e-13)


def test_inner_faces_are_the_same(mesh, twin) -> None:
    inner = slice(mesh.n_faces)
    assert np.array_equal(twin.interiorFaces.value, np.arange(twin.numberOfFaces) < mesh.n_faces)
    assert np.array_equal(twin.faceCellIDs[0, inner], mesh.owner)
    assert np.array_equal(twin.faceCellIDs[1, inner], mesh.neighbour)
    np.testing.assert_allclose(twin._faceAreas[inner], mesh.area, rtol=1e-13)
    np.testing.assert_allclose(twin._cellDistances[inner], mesh.owner_distance + mesh.neighbour_distance, rtol=1e-13)
    np.testing.assert_allclose(twin._faceToCellDistances[0, inner], mesh.owner_distance, rtol=1e-13)
    np.testing.assert_allclose(twin._faceToCellDistances[1, inner], mesh.neighbour_distance, rtol=1e-13)
    # normals point from owner to neighbour, as fluxes do in battsim
    assert np.all(twin.faceNormals[:, inner].sum(axis=0) > 0)


def test_patches_are_fipys_sides(mesh, twin) -> None:
    sides = (twin.facesLeft, twin.facesRight, twin.facesBottom, twin.facesTop, twin.facesFront, twin.facesBack)
    start = mesh.n_faces
    for patch, side in zip(mesh.patches.values(), sides, strict=True):
        faces = np.arange(start, start + patch.cells.size)
        assert np.array_equal(np.flatnonzero(side.value), faces)
        assert np.array_equal(twin.faceCellIDs[0, faces], patch.cells)
        np.testing.assert_allclose(twin._faceAreas[faces], patch.area, rtol=1e-13)
        np.testing.assert_allclose(twin._faceToCellDistances[0, faces], patch.distance, rtol=1e-13)
        start += patch.cells.size
    assert start == twin.numberOfFaces


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (1, 3, 2)])
def test_thin_meshes(shape) -> None:
    flat = voxel_mesh(VoxelImage(np.zeros(shape, np.uint8), (1e-6, 2e-6, 3e-6), ("pore",)))
    twin = fipy_mesh(flat)
    np.testing.assert_allclose(twin.cellVolumes, flat.volume, rtol=1e-13)
    np.testing.assert_allclose(twin._cellDistances[: flat.n_faces], flat.owner_distance + flat.neighbour_distance)


def test_steady_diffusion_is_the_same(mesh, twin) -> None:
    """div(k grad u) = 0 from u = 1 (x-low) to u = 0 (x-high) with k = 1, 0.01 and 3 in the three phases."""
    from fipy import CellVariable, DiffusionTerm, FaceVariable
    from fipy.solvers.scipy import LinearLUSolver

    k = np.array([1.0, 0.01, 3.0])[mesh.phase]
    low, high = mesh.patches["x-low"], mesh.patches["x-high"]
    conductance = face_conductance(
        mesh.area, mesh.owner_distance, mesh.neighbour_distance, k[mesh.owner], k[mesh.neighbour]
    )
    inner = jump(mesh.owner, mesh.neighbour, mesh.n_cells)
    ends = np.zeros(mesh.n_cells)
    for patch in (low, high):
        ends[patch.cells] += k[patch.cells] * patch.area / patch.distance
    source = np.zeros(mesh.n_cells)
    source[low.cells] = ends[low.cells]
    expected = spsolve(sp.csc_array(inner.T @ sp.diags_array(conductance) @ inner + sp.diags_array(ends)), source)

    # the harmonic mean weighted by both half distances, which FiPy's harmonicFaceValue does not know at graded layers;
    # boundary faces carry their cell's k
    coefficient = np.concatenate([conductance / mesh.area, *(k[p.cells] for p in mesh.patches.values())])
    coefficient[: mesh.n_faces] *= mesh.owner_distance + mesh.neighbour_distance
    found = CellVariable(mesh=twin, value=0.5)
    found.constrain(1.0, twin.facesLeft)
    found.constrain(0.0, twin.facesRight)
    equation = DiffusionTerm(coeff=FaceVariable(mesh=twin, value=coefficient))
    equation.solve(var=found, solver=LinearLUSolver(tolerance=1e-14, iterations=20))
    # two direct solutions of systems with a condition number of about 1e4
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-10)
    assert np.ptp(expected) > 0.9


def test_uniform_voxels_need_only_fipys_own_harmonic_mean(mesh) -> None:
    from fipy import CellVariable

    image = VoxelImage(mesh.phase.reshape(mesh.grid_shape)[4:].copy(), (1e-6, 2e-6, 3e-6), ("pore", "active"))
    plain = voxel_mesh(image)
    k = np.array([1.0, 0.01])[plain.phase]
    mean = CellVariable(mesh=fipy_mesh(plain), value=k).harmonicFaceValue.value[: plain.n_faces]
    expected = 2 * k[plain.owner] * k[plain.neighbour] / (k[plain.owner] + k[plain.neighbour])
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_a_part_of_a_block_is_refused(mesh) -> None:
    with pytest.raises(MeshError, match="make it with voxel_mesh"):
        fipy_mesh(replace(mesh, grid_shape=(11, 5, 4)))
    with pytest.raises(MeshError, match="make it with voxel_mesh"):
        fipy_mesh(replace(mesh, position=mesh.position[::-1]))
    with pytest.raises(MeshError, match="the patches x-low; make it"):
        fipy_mesh(replace(mesh, patches={"x-low": mesh.patches["x-low"]}))


@pytest.fixture(scope="module")
def two_sheets():
    """Sheet 0 on all cells but the first, sheet 1 on those of phase 0; joined where a cell is on both, to its next."""
    labels = np.random.default_rng(3).integers(0, 2, (4, 3, 5)).astype(np.uint8)
    mesh = voxel_mesh(VoxelImage(labels, (1e-6, 2e-6, 3e-6), ("pore", "active")), layers=graded_layers(9e-6, 4, 1e-6))
    first, second = np.arange(1, mesh.n_cells), np.flatnonzero(mesh.phase == 0)
    local = np.full((2, mesh.n_cells), -1)
    local[0, first], local[1, second] = np.arange(first.size), np.arange(second.size) + first.size
    inner, joints = [], []
    for sheet in local:
        live = (sheet[mesh.owner] >= 0) & (sheet[mesh.neighbour] >= 0)
        inner.append((sheet[mesh.owner[live]], sheet[mesh.neighbour[live]], np.flatnonzero(live)))
    live = (local[0, mesh.owner] >= 0) & (local[1, mesh.neighbour] >= 0)
    joints = (local[0, mesh.owner[live]], local[1, mesh.neighbour[live]], np.flatnonzero(live))
    low, high, face = (np.concatenate(lists) for lists in zip(*inner, joints, strict=True))
    cells = np.concatenate([first, second])
    ends = {name: np.flatnonzero(np.isin(cells, mesh.patches[name].cells)) for name in ("x-high", "z-low")}
    return mesh, cells, np.stack([low, high]), face, ends


def test_sheets_have_the_cells_and_faces_that_they_stand_on(two_sheets) -> None:
    mesh, cells, pairs, face, ends = two_sheets
    twin = fipy_sheets(mesh, cells, pairs, ends)
    np.testing.assert_allclose(twin.cellVolumes, mesh.volume[cells], rtol=1e-14)
    np.testing.assert_allclose(twin.cellCenters.value.T, mesh.centre[cells], rtol=1e-14)
    inner = slice(face.size)
    assert np.array_equal(twin.faceCellIDs[:, inner], pairs)
    assert np.array_equal(np.flatnonzero(twin.interiorFaces.value), np.arange(face.size))
    np.testing.assert_allclose(twin._faceAreas[inner], mesh.area[face], rtol=1e-13)
    np.testing.assert_allclose(
        twin._cellDistances[inner], (mesh.owner_distance + mesh.neighbour_distance)[face], rtol=1e-13
    )
    np.testing.assert_allclose(twin._faceToCellDistances[0, inner], mesh.owner_distance[face], rtol=1e-13)
    np.testing.assert_allclose(twin._faceToCellDistances[1, inner], mesh.neighbour_distance[face], rtol=1e-13)
    assert np.all(twin.faceNormals[:, inner].sum(axis=0) > 0)
    start = face.size
    for name, at in ends.items():
        patch, here = mesh.patches[name], slice(start, start + at.size)
        order = np.searchsorted(patch.cells, cells[at], sorter=np.argsort(patch.cells))
        order = np.argsort(patch.cells)[order]
        assert np.array_equal(twin.faceCellIDs[0, here], at)
        np.testing.assert_allclose(twin._faceAreas[here], patch.area[order], rtol=1e-13)
        np.testing.assert_allclose(twin._cellDistances[here], patch.distance[order], rtol=1e-13)
        axis, outwards = "xyz".index(name[0]), 1 if name.endswith("high") else -1
        assert np.all(outwards * (twin.faceCenters.value[axis, here] - mesh.centre[cells[at], axis]) > 0)
        start += at.size
    assert start == twin.numberOfFaces
    assert np.bincount(pairs.ravel()).max() > 6


def test_steady_diffusion_on_two_sheets(two_sheets) -> None:
    """Conductances of either sheet and between them, u = 1 at one end and 0 at the other: FiPy against the network."""
    from fipy import CellVariable, DiffusionTerm, FaceVariable
    from fipy.solvers.scipy import LinearLUSolver

    mesh, cells, pairs, _, ends = two_sheets
    twin = fipy_sheets(mesh, cells, pairs, ends)
    g = np.random.default_rng(4).uniform(1e-7, 1e-5, twin.numberOfFaces)
    inner = jump(pairs[0], pairs[1], cells.size)
    first, last = ends.values()
    at_ends = np.bincount(np.concatenate([first, last]), g[pairs.shape[1] :], cells.size)
    source = np.bincount(first, g[pairs.shape[1] : pairs.shape[1] + first.size], cells.size)
    matrix = inner.T @ sp.diags_array(g[: pairs.shape[1]]) @ inner + sp.diags_array(at_ends)
    expected = spsolve(sp.csc_array(matrix), source)
    found, boundary = CellVariable(mesh=twin, value=0.5), np.zeros((2, twin.numberOfFaces), bool)
    boundary[0, pairs.shape[1] : pairs.shape[1] + first.size] = True
    boundary[1, pairs.shape[1] + first.size :] = True
    found.constrain(1.0, boundary[0])
    found.constrain(0.0, boundary[1])
    coefficient = FaceVariable(mesh=twin, value=g * twin._cellDistances / twin._faceAreas)
    DiffusionTerm(coeff=coefficient).solve(var=found, solver=LinearLUSolver(tolerance=1e-14, iterations=20))
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-10)
    assert np.ptp(expected) > 0.5


def test_sheets_join_neighbours_only(two_sheets) -> None:
    mesh, cells, pairs, _, ends = two_sheets
    with pytest.raises(MeshError, match="a face needs neighbouring boxes"):
        fipy_sheets(mesh, cells, np.array([[0], [2]]), ends)
    with pytest.raises(MeshError, match="the lower number first"):
        fipy_sheets(mesh, cells, pairs[::-1], ends)
    with pytest.raises(MeshError, match="make it with voxel_mesh"):
        fipy_sheets(replace(mesh, grid_shape=(11, 5, 4)), cells, pairs, ends)
