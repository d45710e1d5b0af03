"""From what conducts to a grid problem and back: turned axes, half resistances, ends, idle clusters, memory."""

import gc
import tracemalloc
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from battsim.errors import ResourceError
from battsim.post.transport import effective as transport
from battsim.post.transport import effective_transport, solve_transport
from battsim.post.transport import grid as transport_grid
from battsim.post.transport.conductor import conductor
from battsim.post.transport.grid import (
    end_conductance,
    grid_problem,
    natural,
    refuse_too_large,
    transport_memory,
    with_idle_clusters,
)
from meshing.connect import conducting
from meshing.generate import blobs, site_noise
from meshing.image import AXES, VoxelImage

UNIT = (1.0, 1.0, 1.0)
SIZE = (1.0, 2.0, 4.0)
PHASES = ("pore", "active", "binder")
K = {"pore": 1.0, "binder": 0.25}
ASKED = ("alike", "potential", "periodic")


def image_of(labels, size=UNIT):
    return VoxelImage(np.asarray(labels, np.uint8), size, PHASES)


def random_image(shape=(6, 5, 7), seed=0, size=SIZE):
    return image_of(np.random.default_rng(seed).choice(3, shape, p=(0.5, 0.3, 0.2)), size)


def half_resistance(problem):
    if problem.half_resistance is not None:
        return problem.half_resistance[problem.voxels]
    with np.errstate(divide="ignore"):
        return 0.5 / problem.voxels.astype(float)


# the problem


@pytest.mark.parametrize("shape", [(6, 5, 7), (6, 7, 5), (5, 5, 5)])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("k", [(1.0, 0.0, 0.25), (0.0, 3.0, 0.0)], ids=["two conductors", "one conductor"])
@pytest.mark.parametrize("by_voxel", [False, True])
def test_axis_comes_first_and_the_longer_of_the_others_last(by_voxel, k, axis, shape):
    image = random_image(shape)
    k_of_voxel = np.array(k)[image.labels]
    what = conductor(image, k_of_voxel if by_voxel else dict(zip(PHASES, k, strict=True)))
    kept = (k_of_voxel > 0) & (np.random.default_rng(1).random(shape) < 0.8)
    expected = np.divide(0.5, k_of_voxel, out=np.full(shape, np.inf), where=kept)
    problem = grid_problem(what, kept, axis, "outer", "no-flux")
    others = [a for a in range(3) if a != axis]
    assert problem.voxels.shape[0] == shape[axis]
    assert problem.voxels.shape[1:] == tuple(sorted(shape[a] for a in others))
    # back in the image's order, each voxel has its own resistance, and each axis its own faces
    np.testing.assert_array_equal(natural(half_resistance(problem), shape, axis), expected)
    order = (axis, *sorted(others, key=lambda a: shape[a]))
    volume = SIZE[0] * SIZE[1] * SIZE[2]
    assert problem.face_factor == pytest.approx([volume / SIZE[a] ** 2 for a in order], rel=1e-15)
    low, high = problem.ends[0]
    assert (low.value, high.value) == (1.0, 0.0)
    assert low.conductance is None
    assert high.conductance is None
    assert problem.ends[1:] == ("closed", "closed")
    assert grid_problem(what, kept, axis, "outer", "periodic").ends[1:] == ("periodic", "periodic")


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("by_voxel", [False, True])
def test_between_centres_the_end_layers_are_fixed(by_voxel, axis):
    image = random_image()
    table = np.array([1.0, 0.0, 0.25])
    what = conductor(image, table[image.labels] if by_voxel else K)
    kept = table[image.labels] > 0
    outer, centres = (grid_problem(what, kept, axis, length, "no-flux") for length in ("outer", "centres"))
    np.testing.assert_array_equal(centres.voxels, outer.voxels[1:-1])
    r = half_resistance(outer)
    factor = outer.face_factor[0]
    for fixed, value, pair in zip(centres.ends[0], (1.0, 0.0), ((0, 1), (-1, -2)), strict=True):
        assert fixed.value == value
        np.testing.assert_allclose(fixed.conductance, factor / (r[pair[0]] + r[pair[1]]), rtol=1e-15)


def test_conductance_of_two_layers_is_harmonic():
    k = np.array([[[1.0, 1.0, 0.0, 0.0]], [[1.0, 4.0, 1.0, 0.0]]])
    np.testing.assert_allclose(end_conductance(k, None, 3.0), [[3.0, 3.0 * 1.6, 0.0, 0.0]], rtol=1e-15)
    table = np.full(256, np.inf)
    table[[7, 9]] = 0.5, 0.125
    labels = np.array([[[7, 7, 0, 0]], [[7, 9, 7, 0]]], np.uint8)
    np.testing.assert_allclose(end_conductance(labels, table, 3.0), [[3.0, 3.0 * 1.6, 0.0, 0.0]], rtol=1e-15)


def test_the_image_is_not_written_to():
    for k in (K, {"pore": 1.0}):
        image = random_image()
        before, kept = image.labels.copy(), image.labels == 0
        kept[2] = False
        solve_transport(image, k, axis="x", potential=True)
        grid_problem(conductor(image, k), kept, 0, "outer", "no-flux")
        np.testing.assert_array_equal(image.labels, before)


def test_all_256_numbers_may_conduct():
    """No number is left for what is taken out; still only what percolates carries a flux."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 256, (9, 8, 7)).astype(np.uint8)
    labels.reshape(-1)[:256] = np.arange(256)
    names = tuple(f"phase{n}" for n in range(256))
    k = rng.random(256) + 0.5
    image = VoxelImage(labels, SIZE, names)
    found = effective_transport(image, dict(zip(names, k.tolist(), strict=True)), axis="y", tolerance=1e-11)
    expected = effective_transport(image, k[labels], axis="y", tolerance=1e-11)
    assert found.D_eff == pytest.approx(expected.D_eff, rel=1e-10)
    kept = np.ones(labels.shape, bool)
    kept[3:5] = False
    problem = grid_problem(conductor(image, dict(zip(names, k.tolist(), strict=True))), kept, 0, "outer", "no-flux")
    np.testing.assert_array_equal(natural(np.isfinite(half_resistance(problem)), labels.shape, 0), kept)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 4, 3), (3, 3, 3)])
@pytest.mark.parametrize("axis", range(3))
def test_natural_order_undoes_the_turn(axis, shape):
    labels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = VoxelImage(labels, UNIT, tuple(map(str, range(labels.size))))
    what = conductor(image, labels + 1.0)
    problem = grid_problem(what, np.ones(shape, bool), axis, "outer", "no-flux")
    np.testing.assert_array_equal(natural(problem.voxels, shape, axis), labels + 1.0)


# clusters that carry nothing


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("length", ["outer", "centres"])
@pytest.mark.parametrize("by_voxel", [False, True])
def test_idle_clusters_have_the_value_of_the_end_that_they_meet(by_voxel, length, axis):
    labels = np.ones((6, 5, 5), np.uint8)
    labels[:, 0, 0] = 0  # percolates
    labels[:3, 2, 2] = labels[2, 2:4, 2] = 0  # meets the low end
    labels[4:, 4, 4] = 2  # meets the high end
    labels[2:4, 4, 0] = 2  # floats
    expected = np.full(labels.shape, np.nan)
    solved = np.full(labels.shape, np.nan)
    solved[:, 0, 0] = 0.5
    expected[labels == 0] = 1.0
    expected[4:, 4, 4] = 0.0
    expected[:, 0, 0] = 0.5
    if length == "centres":
        expected[0, 0, 0], expected[-1, 0, 0] = 1.0, 0.0
        solved = solved[1:-1]
    turned = image_of(np.moveaxis(labels, 0, axis))
    table = np.array([1.0, 0.0, 0.25])
    what = conductor(turned, table[turned.labels] if by_voxel else K)
    found = with_idle_clusters(np.moveaxis(solved, 0, axis), what, axis, length, (False, False, False))
    np.testing.assert_array_equal(found, np.moveaxis(expected, 0, axis))


def test_a_side_that_opens_joins_an_idle_cluster_to_an_end():
    labels = np.ones((5, 4, 3), np.uint8)
    labels[:3, 0, 0] = labels[2:4, 3, 0] = 0  # both parts meet across y alone
    what = conductor(image_of(labels), K)
    nothing = np.full(labels.shape, np.nan)
    closed = with_idle_clusters(nothing, what, 0, "outer", (False, False, False))
    opened = with_idle_clusters(nothing, what, 0, "outer", (False, True, True))
    assert np.isnan(closed[2:4, 3, 0]).all()
    np.testing.assert_array_equal(opened[2:4, 3, 0], 1.0)


# memory


def smooth_phases(shape, rng):
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 2.5, mode="wrap")
    low, high = np.quantile(noise, (0.45, 0.65))
    return image_of(np.where(noise < low, 0, np.where(noise < high, 2, 1)))


def lognormal(shape, rng):
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 2.0, mode="wrap")
    return np.exp(noise / noise.std())


def problems(shape):
    rng = np.random.default_rng(0)
    pores, noise, three = blobs(shape, 0.5, 2.5, rng), site_noise(shape, 0.4, rng), smooth_phases(shape, rng)
    whole = image_of(np.zeros(shape))
    flat = VoxelImage(pores.labels, SIZE, pores.phases)
    pore = {"pore": 1.0}
    return {
        "blobs": (pores, pore, True),
        "site noise": (noise, pore, True),
        "all conducting": (whole, pore, True),
        "two conductors": (three, K, False),
        "three conductors": (three, {**K, "active": 0.01}, False),
        "flat voxels": (flat, pore, False),
        "by voxel": (whole, lognormal(shape, rng), False),
    }


def peak_of(image, k, **options):
    """Bytes allocated at once by a solve, beside the image."""
    gc.collect()
    tracemalloc.start()
    try:
        solve_transport(image, k, axis="x", **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", problems((4, 4, 4)))
def test_memory_is_estimated_from_above(name):
    shape = (60, 60, 60)
    small, k, _ = problems((24, 24, 24))[name]
    solve_transport(small, k, axis="x")  # compiled
    image, k, alike = problems(shape)[name]
    what = conductor(image, k)
    kept = np.count_nonzero(conducting(what.voxels, what.conducts, axis=0).meets)
    for potential, periodic in product((False, True), repeat=2):
        sides = "periodic" if periodic else "no-flux"
        # the vectors are padded by a voxel on each side, here a tenth
        estimate = transport_memory(62**3, kept, alike=alike, potential=potential, periodic=periodic)
        assert estimate / 1.4 < peak_of(image, k, potential=potential, sides=sides) < estimate


def test_estimate_counts_voxels_and_what_conducts():
    assert transport_memory(10**6, 0) < transport_memory(10**6, 10**6) < transport_memory(10**6, 10**6, alike=False)
    for asked in ("potential", "periodic"):
        assert transport_memory(10**6, 0) < transport_memory(10**6, 0, **{asked: True})
    assert transport_memory(2 * 10**6, 10**6) == 2 * transport_memory(10**6, 5 * 10**5)


def free_memory(monkeypatch, free):
    monkeypatch.setattr(transport_grid.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))


@pytest.mark.parametrize("asked", [dict(zip(ASKED, flags, strict=True)) for flags in product((True, False), repeat=3)])
def test_what_does_not_fit_is_refused_with_what_to_do(monkeypatch, asked):
    needed = transport_memory(102 * 202 * 302, 10**6, **asked)
    free_memory(monkeypatch, needed)
    refuse_too_large((100, 200, 300), 10**6, **asked)
    free_memory(monkeypatch, needed - 1)
    gib = f"{needed / 2**30:.1f} GiB"
    with pytest.raises(ResourceError, match=rf"100 x 200 x 300 voxels.*about {gib}.*{gib} are free.*crop or coarsen"):
        refuse_too_large((100, 200, 300), 10**6, **asked)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("sides", ["no-flux", "periodic"])
@pytest.mark.parametrize("potential", [False, True])
@pytest.mark.parametrize(("k", "alike"), [({"pore": 1.0}, True), (K, False)])
def test_solve_is_refused_before_it_takes_memory(monkeypatch, k, alike, potential, sides, axis):
    image = image_of(random_image((30, 20, 25)).labels)
    settings = {"axis": axis, "potential": potential, "sides": sides}
    what = conductor(image, k)
    periodic = tuple(sides == "periodic" and axis != a for a in AXES)
    kept = np.count_nonzero(conducting(what.voxels, what.conducts, axis=AXES.index(axis), periodic=periodic).meets)
    needed = transport_memory(32 * 22 * 27, kept, alike=alike, potential=potential, periodic=sides == "periodic")
    free_memory(monkeypatch, needed)
    assert solve_transport(image, k, **settings).direction.percolates
    monkeypatch.setattr(transport, "grid_problem", lambda *_: pytest.fail("the problem was set up"))
    free_memory(monkeypatch, needed - 1)
    with pytest.raises(ResourceError, match="30 x 20 x 25 voxels needs about"):
        solve_transport(image, k, **settings)
