import numpy as np
import pytest

from battsim.fvm.operators import face_conductance, jump
from meshing.image import VoxelImage
from meshing.voxel import voxel_mesh

OWNER, NEIGHBOUR = np.array([0, 1, 0, 2], np.int32), np.array([1, 3, 2, 3], np.int32)


def test_jump_of_a_square_of_cells():
    u = np.array([1.0, 2.0, 4.0, 8.0])
    assert np.array_equal(jump(OWNER, NEIGHBOUR, 4) @ u, [-1.0, -6.0, -3.0, -4.0])


def test_a_flux_leaves_one_cell_and_enters_the_other():
    J = jump(OWNER, NEIGHBOUR, 4)
    leaving = J.T @ np.array([5.0, 0.0, 0.0, 0.0])
    assert np.array_equal(leaving, [5.0, -5.0, 0.0, 0.0])
    flux = np.random.default_rng(0).normal(size=4)
    assert abs((J.T @ flux).sum()) < 1e-14  # nothing is made inside


def test_conductance_of_layers_in_series_and_of_a_uniform_material():
    one = np.ones(1)
    # resistances 2/3 and 1/10 over an area of 6
    assert face_conductance(6 * one, 2 * one, one, 3 * one, 10 * one)[0] == pytest.approx(
        6 / (2 / 3 + 1 / 10), rel=1e-15
    )
    assert face_conductance(6 * one, 2 * one, one, 5 * one, 5 * one)[0] == pytest.approx(10.0, rel=1e-15)


def test_laplacian_of_a_quadratic_on_a_mesh_with_graded_layers():
    # two-point fluxes of a linear field are exact on any graded grid; a quadratic has a constant divergence inside
    image = VoxelImage(np.zeros((6, 3, 2), np.uint8), (1.0, 0.5, 2.0), ("pore",))
    mesh = voxel_mesh(image, layers=(1.7, 0.9))
    J = jump(mesh.owner, mesh.neighbour, mesh.n_cells)
    ones = np.ones(mesh.n_faces)
    g = face_conductance(mesh.area, mesh.owner_distance, mesh.neighbour_distance, ones, ones)
    x, y, z = mesh.centre.T
    linear = 2.0 * x - 3.0 * y + z
    gradient = (J @ linear) * g / mesh.area
    assert sorted(set(np.round(gradient, 12))) == [-2.0, -1.0, 3.0]
    divergence = J.T @ (g * (J @ (x**2))) / mesh.volume
    inside = (mesh.position[:, 0] > 2) & (mesh.position[:, 0] < mesh.grid_shape[0] - 1)
    np.testing.assert_allclose(divergence[inside], -2.0, rtol=1e-12)
