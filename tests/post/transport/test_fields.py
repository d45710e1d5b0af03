"""Local flux against exact answers: what a straight line, a laminate and a balance must give, to rounding."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse.linalg as spla

from battsim.models.diffusion import diffusion_on_image
from battsim.post.transport import fields as transport_fields
from battsim.post.transport.fields import flux_vectors, magnitude, slice_profile
from meshing.image import AXES, VoxelImage

SIZE = (1e-6, 2e-6, 4e-6)
PHASES = ("none", "weak", "strong")
K = {"weak": 0.3, "strong": 2.0}
TABLE = np.array([0.0, 0.3, 2.0])


def image_of(labels, size=SIZE):
    return VoxelImage(np.ascontiguousarray(labels, dtype=np.uint8), size, PHASES)


def random_image(shape=(7, 6, 8), seed=0):
    return image_of(np.random.default_rng(seed).choice(3, shape, p=(0.3, 0.4, 0.3)))


def solved(image, axis, length="outer"):
    """The exact discrete potential by a direct solve, NaN outside."""
    problem = diffusion_on_image(image, TABLE, axis=axis, length=length)
    turned = np.moveaxis(image.labels, AXES.index(axis), 0)
    u = np.full(turned.size, np.nan)
    u[problem.cells] = spla.spsolve(problem.matrix.tocsc(), problem.low)
    u = u.reshape(turned.shape)
    if length == "centres":
        u[0], u[-1] = np.where(turned[0] > 0, 1.0, np.nan), np.where(turned[-1] > 0, 0.0, np.nan)
    return np.moveaxis(u, 0, AXES.index(axis))


def linear(shape, axis):
    """What falls from 1 on the low outer face to 0 on the high one."""
    n = shape[AXES.index(axis)]
    layers = 1.0 - (np.arange(n) + 0.5) / n
    return np.broadcast_to(layers.reshape([-1 if a == axis else 1 for a in AXES]), shape).copy()


@pytest.fixture(params=[1, 1 << 20], ids=["plane by plane", "at once"])
def windows(request, monkeypatch):
    monkeypatch.setattr(transport_fields, "SLAB", request.param)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.usefixtures("windows")
def test_a_channel_carries_the_same_flux_everywhere(axis):
    labels = np.zeros((5, 6, 7), np.uint8)
    along = AXES.index(axis)
    channel = tuple(slice(None) if a == along else slice(1, 4) for a in range(3))
    labels[channel] = 2
    image = image_of(labels)
    u = np.where(labels > 0, linear(labels.shape, axis), np.nan)
    share = (labels > 0).mean()
    gradient = 1.0 / (labels.shape[along] * SIZE[along])
    profile = slice_profile(u, image, K, axis=axis)
    assert profile.flux.shape == (labels.shape[along] + 1,)
    # k du/dx of a straight line, over the share of the cross-section; ten digits: sums of exact doubles
    np.testing.assert_allclose(profile.flux, 2.0 * gradient * share, rtol=1e-10)
    assert profile.deviation < 1e-10
    vectors = flux_vectors(u, image, K, axis=axis)
    exact = np.zeros((*labels.shape, 3))
    exact[..., along] = np.where(labels > 0, 2.0 * gradient, 0.0)
    # single precision: 6e-8 of the value
    np.testing.assert_allclose(vectors, exact, rtol=2e-7, atol=2e-7 * gradient)
    np.testing.assert_allclose(magnitude(vectors), exact[..., along], rtol=2e-7, atol=2e-7 * gradient)


@pytest.mark.usefixtures("windows")
def test_layers_in_series_share_one_flux():
    """Half weak, half strong across x: 1 / (1/(2 k_1) + 1/(2 k_2)) per length, and the potential's drops are as 1/k."""
    labels = np.ones((6, 2, 3), np.uint8)
    labels[3:] = 2
    image = image_of(labels)
    resistance = np.array([0.5e-6 / 0.3] * 6 + [0.5e-6 / 2.0] * 6)
    passed = np.cumsum(resistance)[::2]
    u = np.broadcast_to((1.0 - passed / resistance.sum())[:, None, None], labels.shape).copy()
    flux = 1.0 / resistance.sum()
    np.testing.assert_allclose(slice_profile(u, image, K, axis="x").flux, flux, rtol=1e-12)
    np.testing.assert_allclose(flux_vectors(u, image, K, axis="x")[..., 0], flux, rtol=2e-7)


@pytest.mark.usefixtures("windows")
def test_layers_in_parallel_carry_flux_as_their_conductivity():
    labels = np.ones((4, 6, 3), np.uint8)
    labels[:, 4:] = 2
    image = image_of(labels)
    u = linear(labels.shape, "x")
    profile = slice_profile(u, image, K, axis="x")
    np.testing.assert_allclose(profile.flux, (0.3 * 4 + 2.0 * 2) / 6 / 4e-6, rtol=1e-12)
    np.testing.assert_allclose(profile.position, [0.5e-6, 1.5e-6, 2.5e-6, 3.5e-6], rtol=1e-12)
    np.testing.assert_allclose(profile.potential, [0.875, 0.625, 0.375, 0.125], rtol=1e-12)
    vectors = flux_vectors(u, image, K, axis="x")
    np.testing.assert_allclose(vectors[..., 0], TABLE[labels] / 4e-6, rtol=2e-7)
    assert not vectors[..., 1:].any()


@pytest.mark.parametrize("length", ["outer", "centres"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.usefixtures("windows")
def test_every_plane_of_a_solved_image_lets_the_same_flux_through(axis, length):
    image = random_image()
    u = solved(image, axis, length)
    profile = slice_profile(u, image, K, axis=axis, length=length)
    problem = diffusion_on_image(image, TABLE, axis=axis, length=length)
    along = AXES.index(axis)
    area = np.prod([n * h for a, (n, h) in enumerate(zip(image.shape, SIZE, strict=True)) if a != along])
    at_low = problem.flux_in(np.moveaxis(u, along, 0).reshape(-1)[problem.cells]) / area
    # a direct solve leaves rounding, 1e-16, times a condition of a few hundred
    np.testing.assert_allclose(profile.flux, at_low, rtol=1e-11)
    assert profile.deviation < 1e-11
    vectors = flux_vectors(u, image, K, axis=axis, length=length)
    # every plane's flux enters the voxels on either side by halves; single precision
    assert vectors[..., along].mean(dtype=np.float64) == pytest.approx(profile.mean_flux, rel=1e-6)


@pytest.mark.usefixtures("windows")
def test_a_potential_that_solves_nothing_shows_in_the_deviation():
    image = random_image()
    u = solved(image, "y")
    wrong = u.copy()
    wrong[:, 3] *= 1.01
    exact, off = (slice_profile(p, image, K, axis="y") for p in (u, wrong))
    assert off.deviation > 1e-3 > 1e3 * exact.deviation
    changed = np.flatnonzero(~np.isclose(off.flux, exact.flux, rtol=1e-9))
    assert changed.tolist() == [3, 4]  # the planes on either side of the slice


@pytest.mark.parametrize("across", ["x", "y", "z"])
@pytest.mark.usefixtures("windows")
def test_periodic_sides_let_flux_around_the_end(across):
    """A potential with a step across the periodic end: flux crosses there, and nowhere else."""
    axis = "y" if across == "x" else "x"
    shape = (4, 5, 6)
    image = image_of(np.full(shape, 2))
    side = AXES.index(across)
    u = np.full(shape, 0.25)
    first = tuple(slice(0, 1) if a == side else slice(None) for a in range(3))
    u[first] = 0.75
    closed, around = (flux_vectors(u, image, K, axis=axis, sides=sides)[..., side] for sides in ("no-flux", "periodic"))
    step = 2.0 * 0.5 / SIZE[side]
    expected = np.zeros(shape[side])
    expected[:2] = 0.5 * step
    got = np.moveaxis(closed, side, 0).reshape(shape[side], -1)
    np.testing.assert_allclose(got, np.broadcast_to(expected[:, None], got.shape), rtol=2e-7)
    expected[[0, -1]] -= 0.5 * step
    got = np.moveaxis(around, side, 0).reshape(shape[side], -1)
    np.testing.assert_allclose(got, np.broadcast_to(expected[:, None], got.shape), rtol=2e-7, atol=1e-7 * step)


@pytest.mark.usefixtures("windows")
def test_conductivities_of_voxels_are_those_of_their_phases():
    image = random_image()
    u = solved(image, "z")
    by_phase, by_voxel = (flux_vectors(u, image, k, axis="z") for k in (K, TABLE[image.labels]))
    np.testing.assert_array_equal(by_phase, by_voxel)


@pytest.mark.usefixtures("windows")
def test_nothing_flows_where_nothing_conducts():
    image = random_image()
    u = solved(image, "x")
    vectors = flux_vectors(u, image, K, axis="x")
    assert np.isfinite(vectors).all()
    assert not vectors[np.isnan(u)].any()
    empty = slice_profile(np.full(image.shape, np.nan), image, K, axis="x")
    assert not empty.flux.any()
    assert np.isnan(empty.potential).all()
    assert empty.deviation == np.inf


def test_shapes_must_agree():
    image = random_image()
    with pytest.raises(ValueError, match=r"potential has shape \(2, 2, 2\)"):
        flux_vectors(np.zeros((2, 2, 2)), image, K, axis="x")
    with pytest.raises(ValueError, match=r"conductivities have shape \(2, 2, 2\)"):
        slice_profile(np.zeros(image.shape), image, np.ones((2, 2, 2)), axis="x")


def test_temporary_arrays_stay_small(monkeypatch):
    """The vectors take 12 bytes per voxel and their lengths 4; beside them windows of planes, never the whole image."""
    monkeypatch.setattr(transport_fields, "SLAB", 1 << 14)
    image = image_of(np.full((160, 100, 100), 2))
    u = linear(image.shape, "x")
    tracemalloc.start()
    lengths = magnitude(flux_vectors(u, image, K, axis="x"))
    slice_profile(u, image, K, axis="x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # one more array of a whole image would be at least 4 bytes per voxel, 6.4 MB
    assert lengths.nbytes + 12 * u.size <= peak < 16 * u.size + 4e6
