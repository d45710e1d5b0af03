import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from meshing import voxel
from meshing.areas import FLOOR
from meshing.errors import MeshError
from meshing.image import VoxelImage
from meshing.voxel import graded_layers, voxel_mesh

SIZE = (1e-6, 2e-6, 3e-6)
PHASES = ("pore", "active", "binder")


def random_image(shape=(5, 4, 3), seed=0) -> VoxelImage:
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    return VoxelImage(labels, SIZE, PHASES)


def grains(shape, seed=1) -> VoxelImage:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return VoxelImage(np.digitize(field, np.quantile(field, [0.4, 0.5])).astype(np.uint8), SIZE, PHASES)


@pytest.fixture(params=[(), (4e-6, 2e-6, 1e-6)], ids=["bare", "layered"])
def layers(request):
    return request.param


def test_cells(layers) -> None:
    image = random_image()
    mesh = voxel_mesh(image, layers=layers)
    depth = sum(layers)
    assert mesh.grid_shape == (5 + len(layers), 4, 3)
    assert mesh.n_cells == mesh.phase.size == mesh.centre.shape[0] == np.prod(mesh.grid_shape)
    np.testing.assert_allclose(mesh.volume.sum(), (5e-6 + depth) * 8e-6 * 9e-6, rtol=1e-14)
    # C order: cell k sits at the k-th grid position, the image behind the layers
    assert np.array_equal(mesh.position, np.argwhere(np.ones(mesh.grid_shape)))
    assert np.array_equal(mesh.phase.reshape(mesh.grid_shape)[len(layers) :], image.labels)
    np.testing.assert_allclose(mesh.centre[-1], [depth + 4.5e-6, 7e-6, 7.5e-6], rtol=1e-14)


def test_layers_are_a_phase_of_their_own(layers) -> None:
    mesh = voxel_mesh(random_image(), layers=layers)
    if layers:
        assert mesh.phases == (*PHASES, "separator")
        front = mesh.in_phase("separator")
        np.testing.assert_allclose(mesh.volume[front], np.repeat(layers, 12) * 6e-12, rtol=1e-14)
        np.testing.assert_allclose(mesh.centre[front, 0][::12], [2e-6, 5e-6, 6.5e-6], rtol=1e-14)
    else:
        assert mesh.phases == PHASES


def test_layers_of_a_phase_of_the_image() -> None:
    mesh = voxel_mesh(random_image(), layers=(1e-6,), layer_phase="pore")
    assert mesh.phases == PHASES
    assert np.all(mesh.phase[:12] == 0)


def test_faces(layers) -> None:
    mesh = voxel_mesh(random_image(), layers=layers)
    nx, ny, nz = mesh.grid_shape
    assert mesh.n_faces == (nx - 1) * ny * nz + nx * (ny - 1) * nz + nx * ny * (nz - 1)
    assert np.all(mesh.owner < mesh.neighbour)
    pairs = {tuple(pair) for pair in np.stack([mesh.owner, mesh.neighbour], axis=1)}
    assert len(pairs) == mesh.n_faces
    step = mesh.centre[mesh.neighbour] - mesh.centre[mesh.owner]
    axis = step.argmax(axis=1)
    across = np.zeros_like(step)
    across[np.arange(axis.size), axis] = mesh.owner_distance + mesh.neighbour_distance
    np.testing.assert_allclose(step, across, atol=1e-20)  # 1e-14 of a voxel: centres differ along one axis only
    for cells, distance in ((mesh.owner, mesh.owner_distance), (mesh.neighbour, mesh.neighbour_distance)):
        # a box is twice its half width times the area of either face
        np.testing.assert_allclose(2 * distance * mesh.area, mesh.volume[cells], rtol=1e-14)


def test_every_cell_is_closed(layers) -> None:
    """Each cell has one face or patch towards each of its six sides, and opposite sides have equal areas."""
    mesh = voxel_mesh(random_image(), layers=layers)
    axis = (mesh.position[mesh.neighbour] - mesh.position[mesh.owner]).argmax(axis=1)
    for k, letter in enumerate("xyz"):
        low, high = mesh.patches[f"{letter}-low"], mesh.patches[f"{letter}-high"]
        here = axis == k
        above = np.concatenate([mesh.owner[here], high.cells]), np.concatenate([mesh.area[here], high.area])
        below = np.concatenate([mesh.neighbour[here], low.cells]), np.concatenate([mesh.area[here], low.area])
        for cells, _ in (above, below):
            assert np.array_equal(np.sort(cells), np.arange(mesh.n_cells))
        np.testing.assert_allclose(*(np.bincount(cells, area) for cells, area in (above, below)), rtol=1e-14)


def test_patches(layers) -> None:
    mesh = voxel_mesh(random_image(), layers=layers)
    assert list(mesh.patches) == ["x-low", "x-high", "y-low", "y-high", "z-low", "z-high"]
    for k, letter in enumerate("xyz"):
        for end, place in (("low", 0), ("high", mesh.grid_shape[k] - 1)):
            patch = mesh.patches[f"{letter}-{end}"]
            assert np.all(mesh.position[patch.cells, k] == place)
            np.testing.assert_allclose(2 * patch.distance * patch.area, mesh.volume[patch.cells], rtol=1e-14)
    first = layers[0] if layers else 1e-6
    np.testing.assert_allclose(mesh.patches["x-low"].distance, first / 2, rtol=1e-14)


def test_types(layers) -> None:
    mesh = voxel_mesh(random_image(), layers=layers, inside="active")
    indices = [mesh.owner, mesh.neighbour, mesh.position]
    indices += [patch.cells for patch in mesh.patches.values()]
    indices += [cells for face in mesh.interfaces for cells in (face.first, face.second)]
    assert {array.dtype for array in indices} == {np.dtype(np.int32)}
    floats = [mesh.volume, mesh.centre, mesh.area, mesh.owner_distance, mesh.neighbour_distance]
    floats += [a for i in mesh.interfaces for a in (i.area, i.first_distance, i.second_distance, i.cosine)]
    assert {array.dtype for array in floats} == {np.dtype(np.float64)}
    assert mesh.phase.dtype == np.uint8


def test_interfaces_are_all_changes_of_phase(layers) -> None:
    mesh = voxel_mesh(grains((12, 10, 9)), layers=layers, inside="active")
    touching = ["pore", "binder", "separator"] if layers else ["pore", "binder"]
    assert [face.phases for face in mesh.interfaces] == [("active", other) for other in touching]
    faces = {pair: k for k, pair in enumerate(zip(mesh.owner.tolist(), mesh.neighbour.tolist(), strict=True))}
    seen = []
    for face in mesh.interfaces:
        assert np.all(mesh.in_phase("active")[face.first])
        assert np.all(mesh.in_phase(face.phases[1])[face.second])
        for i, (first, second) in enumerate(zip(face.first.tolist(), face.second.tolist(), strict=True)):
            k = faces[min(first, second), max(first, second)]
            seen.append(k)
            halves = mesh.owner_distance[k], mesh.neighbour_distance[k]
            near, far = halves if first < second else halves[::-1]
            c = face.cosine[i]
            assert face.area[i] == pytest.approx(mesh.area[k] * c, rel=1e-14)
            assert face.first_distance[i] == pytest.approx(near * c, rel=1e-14)
            assert face.second_distance[i] == pytest.approx(far * c, rel=1e-14)
            assert FLOOR <= c <= 1
    active = mesh.in_phase("active")
    assert sorted(seen) == np.flatnonzero(active[mesh.owner] != active[mesh.neighbour]).tolist()


def test_a_flat_electrode_under_graded_layers() -> None:
    """The separator cut is a plane: true area, half a layer on its side, half a voxel on the other."""
    labels = np.ones((6, 5, 4), np.uint8)
    mesh = voxel_mesh(VoxelImage(labels, SIZE, PHASES), layers=(5e-6, 0.25e-6), inside="active")
    (face,) = mesh.interfaces
    assert face.phases == ("active", "separator")
    np.testing.assert_allclose(face.area.sum(), 10e-6 * 12e-6, rtol=1e-6)  # smoothed in single precision
    np.testing.assert_allclose(face.first_distance, 0.5e-6, rtol=1e-6)
    np.testing.assert_allclose(face.second_distance, 0.125e-6, rtol=1e-6)


def test_the_cut_sees_a_half_space_without_active_material(monkeypatch) -> None:
    image = grains((12, 10, 9))
    two = voxel_mesh(image, layers=(3e-6, 1e-6), inside="active")
    monkeypatch.setattr(voxel, "PADDING", 9)
    nine = voxel_mesh(image, layers=(3e-6, 1e-6), inside="active")
    for a, b in zip(two.interfaces, nine.interfaces, strict=True):
        assert np.array_equal(a.cosine, b.cosine)
    # the same as an image whose own first voxels are another phase
    empty = np.concatenate([np.zeros((9, 10, 9), np.uint8), image.labels])
    own = voxel_mesh(VoxelImage(empty, SIZE, PHASES), inside="active")
    layered = np.concatenate([face.area for face in two.interfaces])
    np.testing.assert_allclose(layered.sum(), sum(face.area.sum() for face in own.interfaces), rtol=1e-12)


def test_the_number_of_layers_does_not_change_the_electrode() -> None:
    image = grains((12, 10, 9))
    few, many = (voxel_mesh(image, layers=(1e-6,) * n, inside="active") for n in (1, 7))
    for a, b in zip(few.interfaces, many.interfaces, strict=True):
        assert np.array_equal(a.first + 6 * 90, b.first)
        assert np.array_equal(a.cosine, b.cosine)


def test_layers_may_be_the_inside_themselves() -> None:
    labels = np.zeros((6, 5, 4), np.uint8)
    mesh = voxel_mesh(VoxelImage(labels, SIZE, PHASES), layers=(1e-6,), layer_phase="lithium", inside="lithium")
    (face,) = mesh.interfaces
    assert face.phases == ("lithium", "pore")
    np.testing.assert_allclose(face.cosine, 1, rtol=1e-6)


def test_without_inside_or_without_its_surface_there_is_no_interface() -> None:
    assert voxel_mesh(random_image()).interfaces == ()
    solid = VoxelImage(np.ones((4, 4, 4), np.uint8), SIZE, PHASES)
    assert voxel_mesh(solid, inside="active").interfaces == ()
    assert voxel_mesh(solid, inside="binder").interfaces == ()


def test_one_voxel() -> None:
    mesh = voxel_mesh(VoxelImage(np.ones((1, 1, 1), np.uint8), SIZE, PHASES), inside="active")
    assert (mesh.n_cells, mesh.n_faces, len(mesh.patches)) == (1, 0, 6)


def test_the_image_is_left_alone() -> None:
    image = random_image()
    before = image.labels.copy()
    voxel_mesh(image, layers=(1e-6,), inside="active")
    assert np.array_equal(image.labels, before)


def test_unknown_inside() -> None:
    with pytest.raises(MeshError, match=r"'nmc'.*pore, active, binder, separator"):
        voxel_mesh(random_image(), layers=(1e-6,), inside="nmc")


@pytest.mark.parametrize("bad", [0.0, -1e-6, float("nan"), float("inf")])
def test_layers_without_thickness(bad) -> None:
    with pytest.raises(MeshError, match="thickness above 0 m"):
        voxel_mesh(random_image(), layers=(1e-6, bad))


def test_too_many_cells() -> None:
    wide = np.broadcast_to(np.uint8(0), (1, 2000, 2000))  # one byte in memory
    with pytest.raises(MeshError, match=r"2404000000 cells.*crop or coarsen"):
        voxel_mesh(VoxelImage(wide, SIZE, PHASES), layers=(1e-6,) * 600)


def test_too_many_cells_are_refused_before_they_take_memory() -> None:
    wide = np.broadcast_to(np.uint8(0), (1, 2000, 2000))
    tracemalloc.start()
    with pytest.raises(MeshError):
        voxel_mesh(VoxelImage(wide, SIZE, PHASES), layers=(1e-6,) * 600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    ("thickness", "count", "finest"), [(25e-6, 10, 4e-7), (25e-6, 2, 1e-6), (1.0, 60, 1e-6), (10.1e-6, 10, 1e-6)]
)
def test_graded_layers_grow_away_from_the_image(thickness, count, finest) -> None:
    sizes = np.array(graded_layers(thickness, count, finest))
    assert sizes.size == count
    np.testing.assert_allclose(sizes.sum(), thickness, rtol=1e-14)
    np.testing.assert_allclose(sizes[-1], finest, rtol=1e-10)  # 100 halvings of the ratio, then scaled to the sum
    ratio = sizes[:-1] / sizes[1:]
    assert ratio[0] > 1
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


@pytest.mark.parametrize(("thickness", "count"), [(5e-6, 10), (5e-6, 5), (20e-6, 1)])
def test_graded_layers_that_are_equal(thickness, count) -> None:
    np.testing.assert_allclose(graded_layers(thickness, count, 1e-6), thickness / count, rtol=1e-14)


@pytest.mark.parametrize(("thickness", "count", "finest"), [(0.0, 3, 1e-6), (1e-5, 0, 1e-6), (1e-5, 3, float("nan"))])
def test_graded_layers_of_nothing(thickness, count, finest) -> None:
    with pytest.raises(MeshError, match="graded layers need"):
        graded_layers(thickness, count, finest)
