import numpy as np
import pytest

from battsim.errors import ResourceError
from battsim.models import diffusion
from battsim.models.diffusion import diffusion_on_image, diffusion_on_mesh
from meshing.image import AXES, VoxelImage
from meshing.voxel import voxel_mesh

CONDUCTIVITY = np.array([1.0, 0.0, 0.125])
LENGTHS = ("outer", "centres")


def random_image(seed=0, shape=(6, 5, 4), voxel_size=(1.0, 2.0, 0.5)):
    labels = np.random.default_rng(seed).choice(3, shape, p=[0.5, 0.3, 0.2]).astype(np.uint8)
    return VoxelImage(labels, voxel_size, ("pore", "active", "binder"))


def on_mesh(image, axis="x", length="outer"):
    mesh = voxel_mesh(image)
    return diffusion_on_mesh(mesh, CONDUCTIVITY[mesh.phase], low=f"{axis}-low", high=f"{axis}-high", length=length)


def potential(problem):
    return np.linalg.solve(problem.matrix.toarray(), problem.low)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("axis", AXES)
def test_image_and_mesh_give_the_same_system(axis, length):
    image = random_image()
    mesh, direct = on_mesh(image, axis, length), diffusion_on_image(image, CONDUCTIVITY, axis=axis, length=length)
    turned = np.moveaxis(np.arange(image.labels.size).reshape(image.shape), AXES.index(axis), 0).ravel()
    assert mesh.cells.size > 20
    order = np.argsort(turned[direct.cells])  # mesh counts cells in the image's own order
    assert np.array_equal(turned[direct.cells][order], mesh.cells)
    tight = {"rtol": 1e-14, "atol": 1e-14}  # the same sums in another order
    np.testing.assert_allclose(direct.matrix.toarray()[np.ix_(order, order)], mesh.matrix.toarray(), **tight)
    for name in ("low", "high", "guess"):
        np.testing.assert_allclose(getattr(direct, name)[order], getattr(mesh, name), **tight)
    assert np.array_equal(np.flatnonzero(mesh.percolating), np.sort(turned[direct.percolating]))


@pytest.mark.parametrize("length", LENGTHS)
def test_matrix_is_symmetric_and_its_rows_sum_to_what_joins_the_fixed_values(length):
    problem = diffusion_on_image(random_image(1), CONDUCTIVITY, length=length)
    dense = problem.matrix.toarray()
    assert np.array_equal(dense, dense.T)
    np.testing.assert_allclose(dense.sum(axis=1), problem.low + problem.high, atol=1e-14)
    assert problem.matrix.has_sorted_indices


def test_matrix_of_three_voxels_by_hand():
    # conductivities 1, 1/8, 1 in a row of voxels 2 x 1 x 3: area 3, half length 1
    image = VoxelImage(np.array([0, 2, 0], np.uint8).reshape(3, 1, 1), (2.0, 1.0, 3.0), ("pore", "active", "binder"))
    problem = diffusion_on_image(image, CONDUCTIVITY)
    g = 3.0 / (1.0 + 8.0)
    np.testing.assert_allclose(problem.matrix.toarray(), [[3 + g, -g, 0], [-g, 2 * g, -g], [0, -g, 3 + g]], rtol=1e-15)
    np.testing.assert_allclose(problem.low, [3, 0, 0])
    np.testing.assert_allclose(problem.high, [0, 0, 3])


def test_floating_clusters_go_and_dead_ends_stay():
    labels = np.ones((6, 5, 5), np.uint8)
    labels[:, 0, 0] = 0  # percolates
    labels[2, 1, 0] = 0  # its dead end
    labels[0:2, 2, 2] = 0  # meets the low end only
    labels[4:6, 2, 4] = 2  # meets the high end only
    labels[3, 4, 4] = 0  # floats
    labels[2:4, 3, 0] = [0, 2]  # floats, two phases
    image = VoxelImage(labels, (1.0, 1.0, 1.0), ("pore", "active", "binder"))
    for problem in (diffusion_on_image(image, CONDUCTIVITY), on_mesh(image)):
        assert problem.cells.size == 6 + 1 + 2 + 2
        assert np.count_nonzero(problem.percolating) == 7
        u = np.full(image.labels.size, np.nan)
        u[problem.cells] = problem.guess
        u = u.reshape(image.shape)
        np.testing.assert_allclose(u[:, 0, 0], 1 - (np.arange(6) + 0.5) / 6)
        np.testing.assert_allclose(u[0:2, 2, 2], 1.0)
        np.testing.assert_allclose(u[4:6, 2, 4], 0.0)


def test_clusters_follow_conducting_faces_of_several_phases():
    labels = np.array([0, 2, 0, 0], np.uint8).reshape(4, 1, 1)
    image = VoxelImage(labels, (1.0, 1.0, 1.0), ("pore", "active", "binder"))
    assert diffusion_on_image(image, CONDUCTIVITY).percolating.all()
    cut = diffusion_on_image(image, np.array([1.0, 0.0, 0.0]))
    assert not cut.percolating.any()
    assert cut.cells.tolist() == [0, 2, 3]


@pytest.mark.parametrize("length", LENGTHS)
def test_flux_through_every_slice_is_the_flux_in_and_out_and_the_energy(length):
    image = random_image(4, (7, 6, 6))
    mesh, problem = voxel_mesh(image), on_mesh(image, "x", length)
    u = potential(problem)
    values = np.zeros(mesh.n_cells)
    if length == "centres":
        values[mesh.position[:, 0] == 0] = 1.0
    values[problem.cells] = u
    k = CONDUCTIVITY[mesh.phase]
    with np.errstate(divide="ignore"):
        g = mesh.area / (mesh.owner_distance / k[mesh.owner] + mesh.neighbour_distance / k[mesh.neighbour])
    across = mesh.position[mesh.neighbour, 0] - mesh.position[mesh.owner, 0]
    flux = np.bincount(
        mesh.position[mesh.owner, 0], across * g * (values[mesh.owner] - values[mesh.neighbour]), minlength=6
    )[:6]
    np.testing.assert_allclose(flux, problem.flux_in(u), rtol=1e-12)  # round-off of a dense solve
    assert problem.flux_in(u) > 0.1
    assert problem.flux_out(u) == pytest.approx(problem.flux_in(u), rel=1e-12)
    energy = u @ problem.matrix @ u - 2 * problem.low @ u + problem.constant
    assert energy == pytest.approx(problem.flux_in(u), rel=1e-12)


def test_graded_mesh_of_layers_in_series_is_exact():
    image = VoxelImage(np.zeros((4, 2, 3), np.uint8), (0.5, 1.0, 2.0), ("pore",))
    mesh = voxel_mesh(image, layers=(4.0, 2.0, 1.0))
    k = np.where(mesh.in_phase("separator"), 0.25, 1.0)
    problem = diffusion_on_mesh(mesh, k)
    flux = problem.flux_in(potential(problem))
    assert flux == pytest.approx((2 * 1.0) * (3 * 2.0) / (7.0 / 0.25 + 2.0 / 1.0), rel=1e-13)
    uniform = diffusion_on_mesh(mesh, np.ones(mesh.n_cells))
    np.testing.assert_allclose(uniform.guess, potential(uniform), atol=1e-14)  # linear in metres, not in layers


def test_conductivity_may_vary_from_cell_to_cell():
    image = VoxelImage(np.zeros((5, 1, 1), np.uint8), (1.0, 1.0, 1.0), ("pore",))
    k = np.array([1.0, 2.0, 4.0, 0.5, 3.0])
    problem = diffusion_on_mesh(voxel_mesh(image), k)
    assert problem.flux_in(potential(problem)) == pytest.approx(1.0 / np.sum(1.0 / k), rel=1e-14)


def test_centres_of_two_layers_leave_nothing_unknown():
    image = VoxelImage(np.array([[0, 0], [0, 1]], np.uint8).reshape(2, 2, 1), (2.0, 1.0, 1.0), ("pore", "active"))
    problem = diffusion_on_image(image, np.array([1.0, 0.0]), length="centres")
    assert problem.cells.size == 0
    assert problem.direct == pytest.approx(0.5)
    mesh = voxel_mesh(image)
    assert diffusion_on_mesh(mesh, np.where(mesh.phase == 0, 1.0, 0.0), length="centres").direct == pytest.approx(0.5)


def test_one_layer_cannot_hold_both_values_in_its_centres():
    image = VoxelImage(np.zeros((1, 3, 3), np.uint8), (1.0, 1.0, 1.0), ("pore",))
    with pytest.raises(ValueError, match="one voxel"):
        diffusion_on_image(image, np.ones(1), length="centres")
    with pytest.raises(ValueError, match="outer faces"):
        diffusion_on_mesh(voxel_mesh(image), np.ones(9), length="centres")


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_conductivity_is_refused(bad):
    image = random_image()
    with pytest.raises(ValueError, match="0 or more"):
        diffusion_on_image(image, np.array([1.0, bad, 0.0]))
    mesh = voxel_mesh(image)
    with pytest.raises(ValueError, match="0 or more"):
        diffusion_on_mesh(mesh, np.where(mesh.phase == 1, bad, 1.0))


def test_more_unknowns_than_indices_are_refused(monkeypatch):
    monkeypatch.setattr(diffusion, "LARGEST", 20)
    with pytest.raises(ResourceError, match="crop or coarsen"):
        diffusion_on_image(random_image(), CONDUCTIVITY)
