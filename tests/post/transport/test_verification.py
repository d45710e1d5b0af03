"""Effective transport against exact answers, symmetries, a second solver and its own error estimate."""

import os
from dataclasses import fields
from itertools import permutations, product
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from battsim.errors import CaseError
from battsim.post.transport import effective_transport, solve_transport, tortuosity
from battsim.post.transport.conductor import conductor
from battsim.post.transport.grid import grid_problem
from battsim.solvers.grid.solve import solve_grid
from meshing.connect import conducting
from meshing.generate import blobs, site_noise
from meshing.image import AXES, VoxelImage

UNIT = (1.0, 1.0, 1.0)
PHASES = ("pore", "active", "binder")
LENGTHS = ("outer", "centres")
SIDES = ("no-flux", "periodic")
TIGHT = 1e-10
EXACT = 1e-11  # tightest tolerance; what follows asserts values to round-off
FIRST_ORDER = 3e-5  # ten times its root: what potentials and fluxes are good to where D_eff is good to EXACT
TIMES = ("wall_s", "labelling_s", "setup_s")

each_axis = pytest.mark.parametrize("axis", AXES)
each_length = pytest.mark.parametrize("length", LENGTHS)
each_sides = pytest.mark.parametrize("sides", SIDES)


# images


def smooth(shape, feature, rng):
    """Smoothed noise, periodic, of variance 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), feature, mode="wrap")
    return noise / noise.std()


def three_phases(shape, seed=0, feature=1.5, voxel_size=UNIT):
    """Two cuts through smoothed noise, stretched along z: pore 0.45, binder 0.2, active 0.35."""
    rng = np.random.default_rng(seed)
    noise = smooth(shape, (feature, feature, 2 * feature), rng)
    low, high = np.quantile(noise, (0.45, 0.65))
    return VoxelImage(np.where(noise < low, 0, np.where(noise < high, 2, 1)).astype(np.uint8), voxel_size, PHASES)


def noise_of_phases(shape, seed=0, share=(0.45, 0.25, 0.3), voxel_size=UNIT):
    labels = np.random.default_rng(seed).choice(3, shape, p=share).astype(np.uint8)
    return VoxelImage(labels, voxel_size, PHASES)


def spheres_at_random(shape, porosity, radius, rng):
    """The pore between overlapping spheres of equal size, periodic; as the other generators."""
    reach = np.arange(-radius, radius + 1)
    ball = np.argwhere(reach[:, None, None] ** 2 + reach[:, None] ** 2 + reach**2 <= radius**2) - radius
    solid = np.zeros(shape, bool)
    for centre in rng.integers(0, shape, (round(-np.log(porosity) * np.prod(shape) / len(ball)), 3)):
        solid[tuple(np.mod(centre + ball, shape).T)] = True
    return VoxelImage(solid.astype(np.uint8), UNIT, ("pore", "active"))


def stretched(image, voxel_size):
    return VoxelImage(image.labels, voxel_size, image.phases)


# symmetries and scales


@pytest.mark.parametrize("k", [{"pore": 1.0}, {"pore": 1.0, "binder": 0.05}], ids=["binary", "two conductors"])
@pytest.mark.parametrize("voxel_size", [UNIT, (1.0, 2.0, 0.5)], ids=["cubes", "flat voxels"])
def test_rotations_and_reflections_of_the_image_agree(k, voxel_size):
    """All 48; each time the axis that the image's own x, y or z became."""
    image = three_phases((22, 17, 19), voxel_size=voxel_size)
    expected = [effective_transport(image, k, axis=axis, tolerance=TIGHT).D_eff for axis in AXES]
    assert max(expected) > 1.05 * min(expected)
    for count, (order, flips) in enumerate(product(permutations(range(3)), product((1, -1), repeat=3))):
        labels = image.labels.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
        turned = VoxelImage(labels, tuple(voxel_size[a] for a in order), PHASES)
        own = count % 3
        found = effective_transport(turned, k, axis=AXES[order.index(own)], tolerance=TIGHT)
        assert found.D_eff == pytest.approx(expected[own], rel=1e-8)
    assert count == 47


@each_length
@each_axis
@pytest.mark.parametrize("factor", [2.0**-20, 1e-6])
def test_size_of_voxels_does_not_matter(factor, axis, length):
    image, k = three_phases((13, 12, 14), voxel_size=(1.0, 2.0, 0.5)), {"pore": 1.0, "binder": 0.05}
    small = stretched(image, tuple(factor * h for h in image.voxel_size))
    one, other = (effective_transport(i, k, axis=axis, length=length, tolerance=EXACT) for i in (image, small))
    # a power of two divides without rounding
    rel = 0.0 if factor == 2.0**-20 else 1e-10
    assert other.D_eff == pytest.approx(one.D_eff, rel=rel, abs=0.0)
    assert other.tau == pytest.approx(one.tau, rel=rel, abs=0.0)


@pytest.mark.parametrize("factor", [2.0**40, 2.0**-40, 1.8e3, 1e-12])
@pytest.mark.parametrize("per_voxel", [False, True], ids=["by phase", "by voxel"])
def test_unit_of_conductivity_is_that_of_bulk(per_voxel, factor):
    image = three_phases((13, 12, 14))
    k = np.array([1.0, 0.0, 0.05])

    def solved(k, bulk):
        conductivity = k[image.labels] if per_voxel else dict(zip(PHASES, k.tolist(), strict=True))
        return effective_transport(image, conductivity, axis="z", bulk=bulk, tolerance=EXACT)

    relative, in_units, absolute = solved(k, 1.0), solved(factor * k, factor), solved(factor * k, 1.0)
    rel = 0.0 if np.frexp(factor)[0] == 0.5 else 1e-10
    assert in_units.D_eff == pytest.approx(relative.D_eff, rel=rel, abs=0.0)
    assert in_units.tau == pytest.approx(relative.tau, rel=rel, abs=0.0)
    assert absolute.D_eff == pytest.approx(factor * relative.D_eff, rel=rel, abs=0.0)


@each_length
@pytest.mark.parametrize("voxel_size", [UNIT, (1e-6, 3e-6, 2e-7)])
@pytest.mark.parametrize("contrast", [3.0, 1e3, 1e5])
@pytest.mark.parametrize("per_voxel", [False, True], ids=["by phase", "by voxel"])
def test_laminates_are_exact(per_voxel, contrast, voxel_size, length):
    """Series: harmonic mean over the distance that counts. Parallel: arithmetic mean."""
    k = np.array([1.0, contrast, sqrt(contrast)])
    layers = np.array([0, 0, 1, 2, 2, 0, 1, 1, 1, 2, 0])
    labels = np.broadcast_to(layers[:, None, None], (11, 5, 4)).astype(np.uint8)
    image = VoxelImage(labels, voxel_size, PHASES)
    conductivity = k[labels] if per_voxel else dict(zip(PHASES, k.tolist(), strict=True))
    thickness = np.ones(11)
    if length == "centres":
        thickness[[0, -1]] = 0.5
    series = thickness.sum() / (thickness / k[layers]).sum()
    for axis, expected in zip(AXES, (series, k[layers].mean(), k[layers].mean()), strict=True):
        found = effective_transport(image, conductivity, axis=axis, length=length, tolerance=EXACT)
        assert found.D_eff == pytest.approx(expected, rel=1e-10)


# other ways to the same number


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(2, 14)] * 3),
    feature=st.sampled_from([0.5, 1.0, 2.0]),
    conductivity=st.tuples(*[st.sampled_from([0.0, 1e-5, 1e-2, 0.3, 1.0])] * 3).filter(any),
    voxel_size=st.tuples(*[st.sampled_from([1e-6, 2.5e-6, 4e-7])] * 3),
    axis=st.sampled_from(AXES),
    length=st.sampled_from(LENGTHS),
)
def test_agrees_with_algebraic_multigrid(seed, shape, feature, conductivity, voxel_size, axis, length):
    image = three_phases(shape, seed, feature, voxel_size)
    k = dict(zip(PHASES, conductivity, strict=True))
    own, peer = (
        effective_transport(image, k, axis=axis, length=length, tolerance=TIGHT, solver=solver)
        for solver in ("grid", "amg")
    )
    assert own.D_eff == pytest.approx(peer.D_eff, rel=1e-8)
    assert own.percolates == peer.percolates
    assert own.percolating_fraction == peer.percolating_fraction


@pytest.mark.parametrize("voxel_size", [UNIT, (1.0, 0.1, 1.0)])
@pytest.mark.parametrize("contrast", [0.0, 1.0, 1e-3, 1e5])
def test_agrees_with_algebraic_multigrid_where_both_have_levels(contrast, voxel_size):
    image = three_phases((31, 25, 28), 3, 2.0, voxel_size)
    for axis in AXES:
        own, peer = (
            effective_transport(image, {"pore": 1.0, "binder": contrast}, axis=axis, tolerance=TIGHT, solver=solver)
            for solver in ("grid", "amg")
        )
        assert own.D_eff == pytest.approx(peer.D_eff, rel=1e-8)


@each_sides
@each_length
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_conductivity_by_voxel_is_that_by_phase(dtype, length, sides):
    image = three_phases((15, 16, 13), voxel_size=(1.0, 2.0, 1.0))
    k = np.array([1.0, 0.0, 0.03125])  # exact in float32
    for axis in AXES:
        settings = {"axis": axis, "length": length, "sides": sides, "tolerance": EXACT}
        by_phase = effective_transport(image, dict(zip(PHASES, k.tolist(), strict=True)), **settings)
        by_voxel = effective_transport(image, k[image.labels].astype(dtype), **settings)
        for name in ("D_eff", "tau", "tau_percolating", "percolating_fraction"):
            assert getattr(by_voxel, name) == pytest.approx(getattr(by_phase, name), rel=1e-10)


def test_phases_of_equal_conductivity_are_one():
    image = three_phases((15, 16, 13))
    merged = VoxelImage(np.where(image.labels == 1, 1, 0).astype(np.uint8), UNIT, ("pore", "active"))
    for axis in AXES:
        apart = effective_transport(image, {"pore": 1.0, "binder": 1.0}, axis=axis)
        assert apart.D_eff == effective_transport(merged, {"pore": 1.0}, axis=axis).D_eff


@each_axis
@each_length
def test_thin_image_gives_the_answer_of_two_dimensions(axis, length):
    """One layer normal to an axis: the same as that layer repeated, for both axes in its plane."""
    flat = three_phases((24, 26, 1), 5)
    order = {"x": (2, 0, 1), "y": (0, 2, 1), "z": (0, 1, 2)}[axis]  # the thin axis becomes `axis`
    thin = VoxelImage(flat.labels.transpose(order), (1.0, 2.0, 3.0), PHASES)
    thick = VoxelImage(np.repeat(thin.labels, 4, AXES.index(axis)), (1.0, 2.0, 3.0), PHASES)
    k = {"pore": 1.0, "binder": 0.05, "active": 0.3}
    for along in set(AXES) - {axis}:
        one, four = (effective_transport(i, k, axis=along, length=length, tolerance=EXACT) for i in (thin, thick))
        assert one.D_eff == pytest.approx(four.D_eff, rel=1e-10)
        assert one.percolating_fraction == four.percolating_fraction
    with pytest.raises(CaseError, match="one voxel"):
        effective_transport(thin, k, axis=axis, length=length)


# periodic sides


@each_axis
@pytest.mark.parametrize("k", [{"pore": 1.0}, {"pore": 1.0, "binder": 0.05}], ids=["binary", "two conductors"])
def test_periodic_sides_do_not_know_where_the_image_was_cut(k, axis):
    image = three_phases((15, 18, 16), 2)
    shift = [0 if a == AXES.index(axis) else n for a, n in enumerate((4, 7, 5))]
    shifted = VoxelImage(np.roll(image.labels, shift, (0, 1, 2)), UNIT, PHASES)
    tiled = VoxelImage(np.tile(image.labels, [1 if a == AXES.index(axis) else 3 for a in range(3)]), UNIT, PHASES)
    one, moved, nine = (
        effective_transport(i, k, axis=axis, sides="periodic", tolerance=EXACT) for i in (image, shifted, tiled)
    )
    assert moved.D_eff == pytest.approx(one.D_eff, rel=1e-9)
    assert nine.D_eff == pytest.approx(one.D_eff, rel=1e-9)
    assert moved.percolating_fraction == one.percolating_fraction
    assert nine.percolating_fraction == pytest.approx(one.percolating_fraction, rel=1e-14)


@each_axis
@each_length
def test_closed_sides_are_those_of_the_mirror_image_and_let_less_through(axis, length):
    """Nothing crosses a mirror plane. And closing sides takes faces out of a sum that is least at the solution."""
    a = AXES.index(axis)
    for seed, k in product(range(3), ({"pore": 1.0}, {"pore": 1.0, "binder": 0.05})):
        image = three_phases((12, 11, 13), seed)
        mirrored = image.labels
        for side in {0, 1, 2} - {a}:
            mirrored = np.concatenate([mirrored, np.flip(mirrored, side)], side)
        settings = {"axis": axis, "length": length, "tolerance": EXACT}
        closed = effective_transport(image, k, **settings)
        doubled = effective_transport(VoxelImage(mirrored, UNIT, PHASES), k, sides="periodic", **settings)
        opened = effective_transport(image, k, sides="periodic", **settings)
        assert closed.percolates
        assert doubled.D_eff == pytest.approx(closed.D_eff, rel=1e-9)
        assert opened.D_eff > closed.D_eff * (1 + 1e-6)


@each_axis
def test_helix_percolates_through_periodic_sides_alone(axis):
    """One voxel aside in every inner layer, so M = 2 N - 2 voxels over N layers: tau = (M / N)^2 as of any path."""
    N, m = 9, 4
    helix = np.zeros((N, m, 3), bool)
    for i in range(N):
        helix[i, [i % m, (i + 1) % m], 1] = True
    helix[0, 0, 1] = helix[-1, N % m, 1] = False
    turned = np.moveaxis(helix, 0, AXES.index(axis))
    assert not tortuosity(turned, axis).percolates
    found = tortuosity(turned, axis, sides="periodic", tolerance=EXACT)
    assert helix.sum() == 2 * N - 2
    assert found.tau == pytest.approx(((2 * N - 2) / N) ** 2, rel=1e-10)
    assert found.percolating_fraction == 1.0


# threads


@each_sides
@pytest.mark.parametrize("k", [{"pore": 1.0}, {"pore": 1.0, "binder": 0.05}], ids=["binary", "two conductors"])
def test_threads_change_no_bit(k, sides):
    image = three_phases((48, 42, 45), 1, 2.0)  # more than three shares of work
    one, two, three = (solve_transport(image, k, axis="y", sides=sides, threads=n) for n in (1, 2, 3))
    for other in (two, three):
        for name in {field.name for field in fields(one.direction)} - set(TIMES):
            assert getattr(other.direction, name) == getattr(one.direction, name)
        np.testing.assert_array_equal(other.potential, one.potential)


# the potential


def reached(mask, axis, end, periodic):
    """Voxels of the mask that hang together with one end: neighbours of neighbours."""
    found = np.zeros_like(mask)
    at = [slice(None)] * 3
    at[axis] = end
    found[tuple(at)] = mask[tuple(at)]
    count = 0
    while (n := np.count_nonzero(found)) > count:
        count = n
        for a, step in product(range(3), (1, -1)):
            moved = np.roll(found, step, a)
            if a == axis or not periodic:
                seam = [slice(None)] * 3
                seam[a] = 0 if step == 1 else -1
                moved[tuple(seam)] = False
            found |= moved & mask
    return found


def faces(k, h, axis, sides, length):
    """Axis, conductance of all faces, those at the seam last, and of the half faces at the two ends.

    With `length` "centres" the end layers hold the potentials, and nothing flows along or behind them.
    """
    with np.errstate(divide="ignore"):
        r = 0.5 / k
    found = []
    for a in range(3):
        factor = h[0] * h[1] * h[2] / h[a] ** 2
        g = factor / (r + np.roll(r, -1, a))
        closed = [slice(None)] * 3
        closed[a] = -1
        if a == axis or sides == "no-flux":
            g[tuple(closed)] = 0.0
        if a != axis and length == "centres":
            np.moveaxis(g, axis, 0)[[0, -1]] = 0.0
        found.append(g)
    factor = h[0] * h[1] * h[2] / h[axis] ** 2
    low, high = (factor / r.take(layer, axis) if length == "outer" else None for layer in (0, -1))
    return found, low, high


CASES = [
    # conductivity, share of each phase, voxel size
    ([1.0, 0.0, 0.0], (0.40, 0.4, 0.2), UNIT),
    ([1.0, 0.0, 0.0], (0.40, 0.4, 0.2), (1.0, 2.0, 0.5)),
    ([1.0, 0.0, 0.05], (0.25, 0.6, 0.15), UNIT),
    ([0.0, 1.0, 1e4], (0.60, 0.25, 0.15), (2.0, 1.0, 1.0)),
]


@pytest.mark.parametrize(("k", "share", "h"), CASES, ids=["binary", "flat voxels", "two conductors", "high contrast"])
@each_sides
@each_length
@each_axis
def test_potential_bears_out_the_number(axis, length, sides, k, share, h):
    image = noise_of_phases((14, 13, 15), 4, share, h)
    k = np.array(k)
    found = solve_transport(
        image, dict(zip(PHASES, k.tolist(), strict=True)), axis=axis, length=length, sides=sides, tolerance=EXACT
    )
    u, a, voxels = found.potential, AXES.index(axis), k[image.labels]
    low, high = (reached(voxels > 0, a, end, sides == "periodic") for end in (0, -1))
    # where it stands, and what hangs on one end
    np.testing.assert_array_equal(np.isfinite(u), low | high)
    assert ((voxels > 0) & ~low & ~high).any()
    fixed_low, fixed_high = (np.zeros(u.shape, bool) for _ in range(2))
    if length == "centres":
        np.moveaxis(fixed_low, a, 0)[0], np.moveaxis(fixed_high, a, 0)[-1] = True, True
    one, zero = low & (fixed_low | ~high), high & (fixed_high | ~low)
    assert one.any()
    assert zero.any()
    np.testing.assert_array_equal(u[one], 1.0)
    np.testing.assert_array_equal(u[zero], 0.0)
    assert np.nanmin(u) >= -FIRST_ORDER
    assert np.nanmax(u) <= 1 + FIRST_ORDER
    # from voxel to voxel and from slice to slice
    conductances, at_low, at_high = faces(voxels, h, a, sides, length)
    v = np.nan_to_num(u)
    net, dissipation, planes = np.zeros(u.shape), 0.0, []
    for b, g in enumerate(conductances):
        flux = g * (v - np.roll(v, -1, b))
        net += flux - np.roll(flux, 1, b)
        dissipation += float((flux * (v - np.roll(v, -1, b))).sum())
        if b == a:
            planes = list(np.moveaxis(flux, a, 0)[:-1].sum(axis=(1, 2)))
    if length == "outer":
        inlet, outlet = at_low * (1.0 - v.take(0, a)), at_high * v.take(-1, a)
        np.moveaxis(net, a, 0)[0] -= inlet
        np.moveaxis(net, a, 0)[-1] += outlet
        dissipation += float((inlet * (1.0 - v.take(0, a))).sum() + (outlet * v.take(-1, a)).sum())
        planes = [inlet.sum(), *planes, outlet.sum()]
    n = np.array(image.shape)
    area = np.prod(n * h) / (n[a] * h[a])
    scale = (n[a] - (length == "centres")) * h[a] / area
    assert found.direction.percolates
    assert scale * dissipation == pytest.approx(found.direction.D_eff, rel=1e-11)
    np.testing.assert_allclose(scale * np.array(planes), found.direction.D_eff, rtol=FIRST_ORDER)
    unknown = low & high & ~fixed_low & ~fixed_high
    assert np.abs(net[unknown]).max() <= FIRST_ORDER * dissipation


@each_length
@each_axis
def test_potential_has_no_summit_and_no_pit_inside(axis, length):
    """Each unknown lies between its neighbours, as a mean of theirs with weights above 0."""
    image = three_phases((14, 12, 13), 4)
    u = solve_transport(image, {"pore": 1.0, "binder": 0.05}, axis=axis, length=length, tolerance=EXACT).potential
    a = AXES.index(axis)
    padded = np.pad(u, 1, constant_values=np.nan)
    ends = np.moveaxis(padded, a, 0)
    if length == "outer":
        ends[0], ends[-1] = 1.0, 0.0
    inner = (slice(1, -1),) * 3
    around = np.stack([np.roll(padded, step, b)[inner] for b, step in product(range(3), (1, -1))])
    around = np.where(np.isnan(around), u, around)
    unknown = np.isfinite(u)
    if length == "centres":
        np.moveaxis(unknown, a, 0)[[0, -1]] = False
    assert (u <= around.max(axis=0) + FIRST_ORDER)[unknown].all()
    assert (u >= around.min(axis=0) - FIRST_ORDER)[unknown].all()


def test_potential_of_two_layers_between_centres_is_what_is_fixed():
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0] = 1
    labels[1, 1, 1] = 1
    image = VoxelImage(labels, UNIT, PHASES)
    found = solve_transport(image, {"pore": 1.0}, axis="x", length="centres")
    # two of four columns conduct
    assert found.direction.D_eff == pytest.approx(0.5, rel=1e-14)
    expected = np.where(labels == 0, np.array([1.0, 0.0])[:, None, None], np.nan)
    np.testing.assert_array_equal(found.potential, expected)


def test_no_potential_where_nothing_percolates_or_none_was_asked_for():
    image = VoxelImage(np.ones((3, 3, 3), np.uint8), UNIT, PHASES)
    assert solve_transport(image, {"pore": 1.0}, axis="x").potential is None
    assert solve_transport(image, {"active": 1.0}, axis="x", potential=False).potential is None


# the error estimate


def lognormal(shape, sigma, feature, rng):
    return np.exp(sigma * (smooth(shape, feature, rng) if feature else rng.standard_normal(shape)))


def images_of_each_kind():
    """Name, image, conductivity."""
    rng = np.random.default_rng(2)
    flat, long = (1.0, 1.0, 0.1), (10.0, 1.0, 1.0)
    for porosity, feature, shape in [
        (0.3, 2.5, (36, 30, 28)),
        (0.5, 2.5, (24, 26, 25)),
        (0.7, 2.0, (20, 21, 22)),
        (0.2, 1.5, (40, 30, 32)),
    ]:
        image = blobs(shape, porosity, feature, rng)
        for size in (UNIT, flat):
            yield f"blobs {porosity} {size}", stretched(image, size), {"pore": 1.0}
    for porosity in (0.25, 0.4):
        image = spheres_at_random((30, 28, 32), porosity, 5, rng)
        for size in (UNIT, long):
            yield f"spheres {porosity} {size}", stretched(image, size), {"pore": 1.0}
    for fraction in (0.34, 0.37, 0.45):  # 0.3116 percolates
        image = site_noise((28, 26, 30), fraction, rng)
        for size in (UNIT, flat):
            yield f"site noise {fraction} {size}", stretched(image, size), {"pore": 1.0}
    for seed, contrast in enumerate((1e-5, 1e-2, 1e2, 1e5)):
        image = three_phases((26, 24, 28), seed, 1.5)
        for size in (UNIT, long):
            yield f"two phases {contrast} {size}", stretched(image, size), {"pore": 1.0, "binder": contrast}
        yield f"three phases {contrast}", image, {"pore": 1.0, "binder": contrast, "active": contrast**0.5}
    for seed, contrast in enumerate((1e-3, 1e3)):
        image = noise_of_phases((24, 26, 25), seed, (0.4, 0.2, 0.4))
        yield f"noise of two phases {contrast}", image, {"pore": 1.0, "binder": contrast}
        yield f"noise of three phases {contrast}", image, {"pore": 1.0, "binder": contrast, "active": 1e-5}
    for sigma, feature in ((1.0, 0), (2.5, 0), (1.0, 2.0), (2.5, 2.0)):
        image = three_phases((24, 26, 22), 9)
        k = lognormal(image.shape, sigma, feature, rng)
        yield f"lognormal {sigma} {feature}", image, k
        yield f"lognormal {sigma} {feature} in pores", stretched(image, long), np.where(image.labels == 0, k, 0.0)


KINDS = list(images_of_each_kind())


@pytest.mark.parametrize(("image", "k"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_true_error_is_below_the_estimate(image, k):
    number = next(n for n, kind in enumerate(KINDS) if kind[1] is image and kind[2] is k)
    settings = {"axis": AXES[number % 3], "length": LENGTHS[number % 2], "sides": SIDES[number // 2 % 2]}
    least = effective_transport(image, k, tolerance=EXACT, **settings).D_eff
    errors = []
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        found = effective_transport(image, k, tolerance=tolerance, **settings)
        errors.append((found.D_eff - least) / found.D_eff)
        assert -EXACT <= errors[-1] <= found.error_estimate + EXACT
        assert found.error_estimate <= tolerance
        assert found.flux_imbalance <= 2 * sqrt(tolerance)
    assert errors[0] > EXACT  # else nothing was compared


# iterations


def steps_to(image, k, axis, *, residual=1e-8, length="outer", sides="no-flux"):
    what, a = conductor(image, k), AXES.index(axis)
    periodic = tuple(sides == "periodic" and b != a for b in range(3))
    kept = conducting(what.voxels, what.conducts, axis=a, how="all", periodic=periodic).meets
    found = solve_grid(grid_problem(what, kept, a, length, sides), tolerance=1e-2, residual=residual, threads=2)
    assert found.converged
    assert found.relative_residual <= residual
    return found.iterations


LARGE = (60, 60, 60)
PORE = {"pore": 1.0}
MATERIALS = {
    "blobs 0.5": lambda rng: (blobs(LARGE, 0.5, 2.5, rng), PORE),
    "blobs 0.3": lambda rng: (blobs(LARGE, 0.3, 2.5, rng), PORE),
    "fine blobs 0.2": lambda rng: (blobs(LARGE, 0.2, 1.5, rng), PORE),
    "spheres 0.3": lambda rng: (spheres_at_random(LARGE, 0.3, 8, rng), PORE),
    "site noise 0.4": lambda rng: (site_noise(LARGE, 0.4, rng), PORE),
    "two phases": lambda rng: (three_phases(LARGE, int(rng.integers(100)), 2.5), {"pore": 1.0, "binder": 0.1}),
    "lognormal": lambda rng: (blobs(LARGE, 0.5, 2.5, rng), lognormal(LARGE, 1.0, 2.0, rng)),
}


@pytest.mark.parametrize("material", MATERIALS)
def test_steps_to_a_small_residual_are_few(material):
    image, k = MATERIALS[material](np.random.default_rng(3))
    assert 5 < steps_to(image, k, "x") <= 25


@pytest.mark.parametrize("contrast", [1e-5, 1e5])
@pytest.mark.parametrize("voxel_size", [UNIT, (1.0, 1.0, 10.0)], ids=["cubes", "flat voxels"])
def test_steps_of_high_contrast_and_flat_voxels_are_few(voxel_size, contrast):
    image = three_phases(LARGE, 1, 2.5, voxel_size)
    for axis, sides in (("x", "no-flux"), ("z", "periodic")):
        assert 5 < steps_to(image, {"pore": 1.0, "binder": contrast}, axis, sides=sides) <= 40


@pytest.mark.parametrize("material", ["blobs 0.3", "site noise 0.4"])
def test_steps_of_flat_voxels_are_few(material):
    image, k = MATERIALS[material](np.random.default_rng(3))
    for axis in ("x", "z"):
        assert 5 < steps_to(stretched(image, (1.0, 1.0, 10.0)), k, axis) <= 40


# arrays as users have them


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_labels_of_any_type_of_number(dtype):
    image = three_phases((9, 8, 10))
    expected = tortuosity(image, "x")
    found = tortuosity(image.labels.astype(dtype), "x", phase=0)
    assert (found.D_eff, found.tau) == (expected.D_eff, expected.tau)


def layouts(array):
    """The same values, in other memory."""
    read_only = array.copy()
    read_only.setflags(write=False)
    return {
        "read-only": read_only,
        "Fortran": np.asfortranarray(array),
        "strided": np.repeat(array, 2, axis=2)[:, :, ::2],
        "backwards": np.ascontiguousarray(array[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
    }


@pytest.mark.parametrize("layout", ["read-only", "Fortran", "strided", "backwards"])
@pytest.mark.parametrize("what", ["bool", "labels", "phases", "voxels"])
def test_memory_of_the_array_does_not_matter(what, layout):
    labels = three_phases((9, 8, 10)).labels

    def solved(labels):
        if what == "bool":
            return tortuosity(layouts(labels == 0)[layout] if labels is not plain else labels == 0, "y")
        if what == "labels":
            return tortuosity(labels, "y", phase=0)
        image = VoxelImage(labels if what == "phases" else plain, UNIT, PHASES)
        table = np.array([1.0, 0.0, 0.05])
        k = {"pore": 1.0, "binder": 0.05} if what == "phases" else table[labels]
        if what == "voxels" and labels is not plain:
            k = layouts(k)[layout]
        return effective_transport(image, k, axis="y")

    plain = np.ascontiguousarray(labels)
    other = layouts(labels)[layout]
    before = other.copy()
    one, found = solved(plain), solved(other)
    assert found.D_eff == one.D_eff
    assert found.tau == one.tau
    np.testing.assert_array_equal(other, before)


def test_image_that_percolates_along_one_axis_alone():
    labels = np.ones((8, 7, 6), np.uint8)
    labels[:, 2:4, 3] = 0
    image = VoxelImage(labels, UNIT, PHASES)
    found = [effective_transport(image, {"pore": 1.0}, axis=axis) for axis in AXES]
    assert [direction.percolates for direction in found] == [True, False, False]
    assert found[0].tau == pytest.approx(1.0, abs=1e-12)
    assert [direction.tau for direction in found[1:]] == [None, None]
    by_voxel = effective_transport(image, np.where(labels == 0, 1.0, 0.0), axis="y")
    assert (by_voxel.tau, by_voxel.D_eff, by_voxel.percolating_fraction) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"threads": 0}, "threads = 0"),
        ({"threads": -2}, "threads = -2"),
        ({"sides": "open"}, r"transport\.sides.*'no-flux' or 'periodic'"),
        ({"sides": "periodic", "solver": "amg"}, "'amg' has no periodic sides.*'grid'"),
        ({"sides": "periodic", "solver": "aggregation"}, "'aggregation' has no periodic sides.*'grid'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, match):
    with pytest.raises(CaseError, match=match):
        effective_transport(three_phases((4, 4, 4)), {"pore": 1.0}, axis="x", **options)


@pytest.mark.parametrize("solver", ["amg", "aggregation"])
def test_conductivity_by_voxel_is_for_the_grid_alone(solver):
    with pytest.raises(CaseError, match=f"'{solver}' takes conductivities by phase.*'grid'"):
        effective_transport(three_phases((4, 4, 4)), np.ones((4, 4, 4)), axis="x", solver=solver)


# real images


def nmc1cal():
    folder = os.environ.get("BATTSIM_DATA")
    if not folder:
        pytest.skip("BATTSIM_DATA is not set: no real images")
    labels = tifffile.imread(Path(folder) / "matbox_nmc1cal_bridgeCBD.tif")
    return VoxelImage(labels, (3.98e-7,) * 3, PHASES)


def test_crops_of_a_calendered_cathode_against_algebraic_multigrid():
    whole = nmc1cal()
    for corner in ((0, 0, 0), (95, 120, 120)):
        labels = whole.labels[tuple(slice(start, start + 60) for start in corner)]
        image = VoxelImage(np.ascontiguousarray(labels), whole.voxel_size, PHASES)
        own, peer = (
            effective_transport(image, {"pore": 1.0, "binder": 0.1}, axis="x", tolerance=TIGHT, solver=solver)
            for solver in ("grid", "amg")
        )
        assert own.D_eff == pytest.approx(peer.D_eff, rel=1e-8)
        assert own.percolating_fraction == peer.percolating_fraction
        blocked, opened = (
            effective_transport(image, {"pore": 1.0, "binder": binder}, axis="x").D_eff for binder in (0.0, 1.0)
        )
        assert 0 < blocked < own.D_eff < opened


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (("pore",), (2.952, 2.595, 2.525)),
        (("pore", "binder"), (1.857, 1.543, 1.529)),
        (("active",), (3.601, 2.533, 2.529)),
    ],
)
def test_calendered_cathode_against_an_independent_solver(phases, expected):
    """tau of the whole image; the figures are good to about three digits."""
    image = nmc1cal()
    for axis, tau in zip(AXES, expected, strict=True):
        result = effective_transport(image, dict.fromkeys(phases, 1.0), axis=axis)
        assert result.tau == pytest.approx(tau, rel=1e-3)


@pytest.mark.slow
def test_electrons_of_a_calendered_cathode_against_the_assembled_matrix():
    """Active material with binder that conducts a hundred times better."""
    image, k = nmc1cal(), {"active": 1.0, "binder": 100.0}
    for axis in AXES:
        own, peer = (
            effective_transport(image, k, axis=axis, tolerance=1e-4, solver=solver)
            for solver in ("grid", "aggregation")
        )
        assert own.D_eff == pytest.approx(peer.D_eff, rel=2e-4)
        alone = effective_transport(image, {"active": 1.0}, axis=axis).D_eff
        assert alone < own.D_eff < 100.0
