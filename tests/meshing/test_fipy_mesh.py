"""The mesh in FiPy: the same geometry, and the same answer to the same equation."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from battsim.fvm.operators import face_conductance, jump
from meshing.errors import MeshError
from meshing.fipy_mesh import fipy_mesh
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
