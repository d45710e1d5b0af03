from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from battsim.errors import CaseError, ImpossibleError, NotConvergedError
from battsim.post.transport import effective_transport
from battsim.post.transport import tensor as tensor_module
from battsim.post.transport.carrying import carrying
from battsim.post.transport.conductor import conductor
from battsim.post.transport.tensor import effective_tensor
from battsim.solvers.linear import LinearStatus
from meshing.connect import percolation
from meshing.image import AXES, VoxelImage

UNIT = (1.0, 1.0, 1.0)
STRETCHED = (1e-6, 2e-6, 5e-7)
PHASES = ("pore", "active", "binder")
BOUNDARIES = ("uniform-flux", "mirrored", "periodic", "linear")
EXACT = 1e-11  # tightest tolerance; entries are then good to 1e-10 of the diagonal
ALL_CONDUCT = {"pore": 1.0, "active": 5.0, "binder": 0.125}
SOME_CONDUCT = {"pore": 1.0, "binder": 0.125}


def three_phases(seed=0, shape=(6, 5, 7), voxel_size=UNIT, share=(0.5, 0.25, 0.25)):
    labels = np.random.default_rng(seed).choice(3, shape, p=share).astype(np.uint8)
    return VoxelImage(labels, voxel_size, PHASES)


def found(image, conductivity, boundary="periodic", **options):
    return effective_tensor(image, conductivity, **{"boundary": boundary, "tolerance": EXACT, **options})


def close(K, expected):
    """To what EXACT gives: 1e-10 of the diagonal."""
    np.testing.assert_allclose(K, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


# against an independent dense solution, face by face


def faces_of(image, conductivity, boundary):
    """Voxel, voxel or None, offset of the potential behind the face for three unit gradients, conductance; and V."""
    k = np.array([conductivity.get(phase, 0.0) for phase in image.phases])[image.labels]
    n, h = k.shape, np.array(image.voxel_size) / min(image.voxel_size)
    number = np.arange(k.size).reshape(n)
    for here in np.argwhere(k > 0):
        for axis, step in product(range(3), (-1, 1)):
            across = np.eye(3, dtype=int)[axis]
            there, area = here + step * across, np.prod(h) / h[axis]
            half = 0.5 * h[axis] / area
            outside = not 0 <= there[axis] < n[axis]
            if outside and boundary == "linear":
                yield number[tuple(here)], None, (here + 0.5 + 0.5 * step * across) * h, k[tuple(here)] / half
            if step == -1 or (outside and boundary != "periodic"):
                continue
            offset, there = (n * h * across if outside else np.zeros(3)), there % n
            if k[tuple(there)] > 0:
                g = 1 / (half / k[tuple(here)] + half / k[tuple(there)])
                yield number[tuple(here)], number[tuple(there)], offset, g


def dense_tensor(image, conductivity, boundary):
    """By least squares of least norm, which no floating cluster upsets."""
    rows = list(faces_of(image, conductivity, boundary))
    B, c = np.zeros((len(rows), image.labels.size)), np.zeros((len(rows), 3))
    for face, (low, high, offset, g) in enumerate(rows):
        B[face, low] -= np.sqrt(g)
        if high is not None:
            B[face, high] += np.sqrt(g)
        c[face] = np.sqrt(g) * offset
    jumps = c - B @ np.linalg.lstsq(B, c, rcond=None)[0]
    return jumps.T @ jumps / (image.labels.size * image.voxel_volume / min(image.voxel_size) ** 3)


@pytest.mark.parametrize("voxel_size", [UNIT, STRETCHED])
@pytest.mark.parametrize("conductivity", [ALL_CONDUCT, SOME_CONDUCT], ids=["all conduct", "some conduct"])
@pytest.mark.parametrize("boundary", ["periodic", "linear"])
@pytest.mark.parametrize("seed", range(3))
def test_random_images_agree_with_a_dense_solution(seed, boundary, conductivity, voxel_size):
    shape = ((5, 4, 6), (3, 1, 7), (2, 8, 5))[seed]
    image = three_phases(seed, shape, voxel_size)
    close(found(image, conductivity, boundary).tensor, dense_tensor(image, conductivity, boundary))


@pytest.mark.parametrize("voxel_size", [UNIT, STRETCHED])
def test_uniform_flux_gives_the_mean_gradient_that_it_needs(voxel_size):
    """The inverse of the found tensor against the mean gradient, from potentials on the outer faces: no energy."""
    image = three_phases(4, (4, 5, 3), voxel_size)
    k = np.array([ALL_CONDUCT[phase] for phase in PHASES])[image.labels]
    h = np.array(voxel_size) / min(voxel_size)
    rows = list(faces_of(image, ALL_CONDUCT, "closed"))
    L = np.zeros((k.size, k.size))
    for low, high, _, g in rows:
        L[np.ix_([low, high], [low, high])] += g * np.array([[1, -1], [-1, 1]])
    sign = [np.zeros(k.shape) for _ in range(3)]
    for axis in range(3):
        np.moveaxis(sign[axis], axis, 0)[0] += 1.0
        np.moveaxis(sign[axis], axis, 0)[-1] -= 1.0
    area = np.prod(h) / h
    resistivity = np.zeros((3, 3))
    for b in range(3):
        u = np.linalg.lstsq(L, (area[b] * sign[b]).ravel(), rcond=None)[0].reshape(k.shape)
        for a in range(3):
            face = u + (a == b) * sign[b] * 0.5 * h[b] / k
            resistivity[a, b] = (sign[a] * face * area[a]).sum() / (k.size * np.prod(h))
    close(np.linalg.inv(found(image, ALL_CONDUCT, "uniform-flux").tensor), resistivity)


# exact answers


@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 1, 1), (1, 6, 2)])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_phase_is_isotropic(boundary, shape):
    image = VoxelImage(np.zeros(shape, np.uint8), STRETCHED, PHASES)
    result = found(image, {"pore": 3.0}, boundary, bulk=2.0)
    close(result.tensor, 1.5 * np.eye(3))
    assert result.conducts == (True, True, True)
    assert result.error_estimate <= EXACT
    assert result.asymmetry <= np.sqrt(EXACT)  # first order


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("boundary", ["mirrored", "periodic"])
def test_laminate_in_series_and_parallel(boundary, axis):
    labels = np.full((6, 6, 6), 1, np.uint8)
    np.moveaxis(labels, axis, 0)[[0, 3]] = 0
    K = np.full(3, 3.0)
    K[axis] = 2.0
    close(found(VoxelImage(labels, STRETCHED, ("a", "b")), {"a": 1.0, "b": 4.0}, boundary).tensor, np.diag(K))


def stripes(width, period, repeats=1):
    """Diagonal stripes of a good conductor across x + y, `width` of `period` voxels of a diagonal step."""
    n = period * repeats
    i, j, _ = np.indices((n, n, 2))
    return VoxelImage(((i + j) % period < width).astype(np.uint8), UNIT, ("poor", "good"))


@pytest.mark.parametrize(("width", "period", "repeats"), [(1, 3, 1), (1, 3, 2), (3, 7, 1), (4, 8, 1)])
def test_diagonal_stripes_are_a_turned_laminate(width, period, repeats):
    """Along x + y the faces of one period are in series; along x - y, where nothing changes, they are in parallel."""
    poor, good = 1.0, 4.0
    face = np.array([2 * poor * good / (poor + good)] * 2 + [good] * (width - 1) + [poor] * (period - width - 1))
    series, parallel = period / (1 / face).sum(), face.mean()
    K = 0.5 * np.array([[series + parallel, series - parallel], [series - parallel, series + parallel]])
    result = found(stripes(width, period, repeats), {"poor": poor, "good": good})
    close(result.tensor[:2, :2], K)
    share = width / period
    assert result.tensor[2, 2] == pytest.approx(share * good + (1 - share) * poor, rel=1e-10)
    assert np.abs(result.tensor[2, :2]).max() < 1e-10
    values, directions = result.principal
    np.testing.assert_allclose(values[:2], [series, parallel], rtol=1e-9)
    np.testing.assert_allclose(np.abs(directions[:2, :2]), np.sqrt(0.5), rtol=1e-6)


def test_fine_stripes_approach_the_laminate_of_the_continuum_at_first_order():
    series, parallel = 1.6, 2.5
    widths = np.array([2, 4, 8])
    errors = []
    for width in widths:
        values, _ = found(stripes(width, 2 * width), {"poor": 1.0, "good": 4.0}).principal
        assert values[0] == pytest.approx(series, rel=1e-9)
        errors.append(parallel - values[1])
    # two faces of 2 width are harmonic means, 1.6 instead of 2.5
    np.testing.assert_allclose(errors, 0.9 / widths, rtol=1e-8)


# what must hold for any image


@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_ordered_as_quadratic_forms(seed):
    image = three_phases(seed, (6, 5, 4), STRETCHED)
    low, mirrored, middle, high = (found(image, ALL_CONDUCT, boundary).tensor for boundary in BOUNDARIES)
    for K in (low, mirrored, middle, high):
        np.testing.assert_array_equal(K, K.T)
        assert np.linalg.eigvalsh(K).min() > 0
    for below, above in ((low, middle), (middle, high), (low, mirrored), (mirrored, high)):
        # far apart on so small an image: by more than what EXACT could blur
        assert np.linalg.eigvalsh(above - below).min() > 1e-3
    series = 1 / sum(image.volume_fraction(phase) / k for phase, k in ALL_CONDUCT.items())
    parallel = sum(image.volume_fraction(phase) * k for phase, k in ALL_CONDUCT.items())
    assert series < np.linalg.eigvalsh(low).min()
    assert np.linalg.eigvalsh(high).max() < parallel


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_turning_the_image_turns_the_tensor(boundary):
    image = three_phases(1, (4, 5, 3), STRETCHED)
    K = found(image, ALL_CONDUCT, boundary).tensor
    assert boundary == "mirrored" or np.abs(K - np.diag(K.diagonal())).max() > 1e-3
    for order, flips in zip(permutations(range(3)), list(product((1, -1), repeat=3))[1:7], strict=True):
        labels = image.labels.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
        turned = VoxelImage(np.ascontiguousarray(labels), tuple(STRETCHED[a] for a in order), PHASES)
        Q = np.diag(flips) @ np.eye(3)[list(order)]
        close(found(turned, ALL_CONDUCT, boundary).tensor, Q @ K @ Q.T)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_units_of_length_and_conductivity_cancel(boundary):
    image = three_phases(2, (4, 3, 5), STRETCHED)
    K = found(image, ALL_CONDUCT, boundary).tensor
    larger = replace(image, voxel_size=tuple(1e3 * h for h in STRETCHED))
    close(found(larger, {name: 1e-9 * k for name, k in ALL_CONDUCT.items()}, boundary, bulk=1e-9).tensor, K)
    close(found(image, {name: 7 * k for name, k in ALL_CONDUCT.items()}, boundary).tensor, 7 * K)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_conductivity_by_voxel_is_the_same_as_by_phase(boundary, dtype):
    image = three_phases(3, (4, 5, 3), STRETCHED)
    k = np.array([ALL_CONDUCT[phase] for phase in PHASES], dtype)[image.labels]
    close(found(image, k, boundary).tensor, found(image, ALL_CONDUCT, boundary).tensor)


def test_a_period_may_start_anywhere_and_be_repeated():
    image = three_phases(5, (5, 4, 3), STRETCHED)
    K = found(image, SOME_CONDUCT).tensor
    close(found(replace(image, labels=np.roll(image.labels, (2, 1, 1), (0, 1, 2))), SOME_CONDUCT).tensor, K)
    close(found(replace(image, labels=np.tile(image.labels, (1, 2, 3))), SOME_CONDUCT).tensor, K)


@pytest.mark.parametrize("conductivity", [ALL_CONDUCT, SOME_CONDUCT], ids=["all conduct", "some conduct"])
def test_mirrored_is_the_periodic_tensor_of_the_mirrored_image_and_transport_between_closed_sides(conductivity):
    image = three_phases(6, (5, 4, 3), STRETCHED, (0.5, 0.25, 0.25))
    labels = image.labels
    for axis in range(3):
        labels = np.concatenate([labels, np.flip(labels, axis)], axis)
    K = found(image, conductivity, "mirrored").tensor
    close(K, found(replace(image, labels=labels), conductivity, "periodic").tensor)
    D_eff = [effective_transport(image, conductivity, axis=axis, tolerance=EXACT).D_eff for axis in AXES]
    close(K, np.diag(D_eff))


def test_boundaries_come_together_as_the_image_grows():
    rng = np.random.default_rng(0)
    spread = []
    for n in (4, 16):
        image = VoxelImage(rng.choice(3, (n, n, n)).astype(np.uint8), UNIT, PHASES)
        values = [found(image, ALL_CONDUCT, boundary, tolerance=1e-6).tensor.trace() for boundary in BOUNDARIES]
        spread.append(max(values) - min(values))
    # the surface's share falls by four
    assert spread[1] < 0.4 * spread[0]


# what does not conduct


def test_a_path_that_winds_twice_before_it_closes():
    """One voxel wide: up through the z end at x = 2, then at x = 0, and back at its start after 18 voxels."""
    labels = np.ones((4, 4, 5), np.uint8)
    labels[0, 0, :3] = labels[1, 0, 2] = labels[2, 0, 2:] = 0
    labels[2, :2, 0] = labels[2, 2, :4] = labels[:2, 2, 3] = labels[0, :3, 4] = 0
    assert (labels == 0).sum() == 18
    result = found(VoxelImage(labels, UNIT, PHASES), {"pore": 1.0})
    assert result.conducts == (False, False, True)
    # 18 unit resistances under a rise of twice the period
    close(result.tensor, np.diag([0.0, 0.0, (2 * 5) ** 2 / 18 / labels.size]))


@pytest.mark.parametrize("boundary", ["mirrored", "periodic", "linear"])
@pytest.mark.parametrize("seed", range(40))
def test_what_conducts_is_told_exactly(seed, boundary):
    """At the threshold of percolation; the energy of a gradient that drives nothing has no relative error."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, 3))
    image = VoxelImage((rng.random(shape) > (0.35 if boundary != "linear" else 0.1)).astype(np.uint8), UNIT, PHASES)
    image.labels[0, 0, 0] = 0
    result = found(image, {"pore": 1.0}, boundary, tolerance=1e-6)
    if boundary == "mirrored":
        shares = percolation(image.labels == 0).percolating
        expected = [shares.x > 0, shares.y > 0, shares.z > 0]
    else:
        expected = np.abs(dense_tensor(image, {"pore": 1.0}, boundary)).max(axis=0) > 1e-12
    np.testing.assert_array_equal(result.conducts, expected)
    for axis in range(3):
        assert result.conducts[axis] == (result.tensor[axis, axis] > 0)
        assert result.conducts[axis] or not result.tensor[axis].any()


def test_both_kinds_occur_among_those_images():
    kinds = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(1, 6, 3))
        image = VoxelImage((rng.random(shape) > 0.35).astype(np.uint8), UNIT, PHASES)
        image.labels[0, 0, 0] = 0
        kinds |= set(found(image, {"pore": 1.0}, tolerance=1e-2).conducts)
    assert kinds == {True, False}


def test_a_cluster_behind_one_potential_conducts_nothing():
    """Two voxels at one x end, cut off from all the rest: along x one value, along y two."""
    labels = np.ones((4, 4, 4), np.uint8)
    labels[0, 1:3, 1] = 0
    result = found(VoxelImage(labels, UNIT, PHASES), {"pore": 1.0}, "linear")
    assert result.conducts == (False, True, False)
    # half a voxel, one voxel and half a voxel in series under a difference of 1
    close(result.tensor, np.diag([0.0, 1 / (0.5 + 1 + 0.5) / labels.size, 0.0]))


def test_only_what_carries_a_flux_is_solved_for():
    """A column through the z ends, one in two pieces that meet at the z seam, an island, and a stub at the x seam."""
    pore = np.zeros((7, 7, 6), bool)
    pore[1, 1] = pore[4, 1] = True
    pore[4, 1, 3] = False
    pore[5, 5, 2:4] = True
    pore[[0, 6], 3, 3] = True
    what = conductor(VoxelImage((~pore).astype(np.uint8), UNIT, PHASES), {"pore": 1.0})
    column = np.zeros_like(pore)
    column[1, 1] = True
    for boundary in ("periodic", "mirrored", "linear"):
        kept, along = carrying(what, boundary, 1)
        np.testing.assert_array_equal(kept, column)
        assert along == (False, False, True)


def test_uniform_flux_cannot_enter_an_insulating_voxel():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    image = VoxelImage(labels, UNIT, PHASES)
    assert np.linalg.eigvalsh(found(image, {"pore": 1.0}, "uniform-flux").tensor).min() > 0.5
    labels[2, 3, 1] = 1
    with pytest.raises(ImpossibleError, match=r"1 voxels at the high y end insulate.*mirrored"):
        found(image, {"pore": 1.0}, "uniform-flux")


# accuracy as told


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_error_is_what_the_estimate_says(boundary, tolerance):
    image = three_phases(8, (12, 11, 10), STRETCHED)
    conductivity = {"pore": 1.0, "active": 300.0, "binder": 0.125}
    exact = found(image, conductivity, boundary).tensor
    result = found(image, conductivity, boundary, tolerance=tolerance)
    K = result.tensor
    if boundary == "uniform-flux":
        exact, K = -np.linalg.inv(exact), -np.linalg.inv(K)
    limit = result.error_estimate * np.abs(np.diag(K))
    assert result.error_estimate <= tolerance
    excess = K - exact
    assert np.linalg.eigvalsh(excess).min() > -1e-10 * np.abs(K).max()
    assert (excess.diagonal() <= limit + 1e-10).all()
    assert (np.abs(excess) <= np.sqrt(np.outer(limit, limit)) + 1e-10).all()


def test_threads_change_no_bit():
    image = three_phases(9, (16, 15, 14))
    one, two = (effective_tensor(image, SOME_CONDUCT, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.tensor, two.tensor)
    assert one.asymmetry == two.asymmetry


def test_no_tensor_comes_out_of_a_failed_solve(monkeypatch):
    solve = tensor_module.solve_grid
    stagnant = lambda *args, **kwargs: replace(solve(*args, **kwargs), status=LinearStatus.STAGNATION)  # noqa: E731
    monkeypatch.setattr(tensor_module, "solve_grid", stagnant)
    for boundary in BOUNDARIES:
        with pytest.raises(NotConvergedError, match=f"along x with boundary = '{boundary}' did not reach"):
            effective_tensor(three_phases(), ALL_CONDUCT, boundary=boundary)


@pytest.mark.parametrize("boundary", ["uniform-flux", "periodic", "linear"])
def test_no_tensor_comes_out_of_a_wrong_potential(monkeypatch, boundary):
    solve = tensor_module.solve_grid

    def tilted(problem, **options):
        result = solve(problem, **options)
        return replace(
            result, potential=result.potential + 0.3 * np.arange(problem.voxels.shape[0])[:, None, None] ** 2
        )

    monkeypatch.setattr(tensor_module, "solve_grid", tilted)
    with pytest.raises(NotConvergedError, match="mean fluxes differ from symmetry"):
        effective_tensor(three_phases(), ALL_CONDUCT, boundary=boundary)


# refusals


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"boundary": "closed"}, "periodic, mirrored, linear, uniform-flux"),
        ({"bulk": 0.0}, "bulk"),
        ({"bulk": np.inf}, "bulk"),
        ({"tolerance": 1e-15}, "tolerance"),
        ({"tolerance": np.nan}, "tolerance"),
        ({"conductivity": {"pores": 1.0}}, "pore, active, binder"),
        ({"conductivity": {"pore": -1.0}}, "conductivity"),
        ({"conductivity": {"pore": 0.0}}, "nothing conducts"),
        ({"conductivity": np.ones((2, 2, 2))}, r"shape \(2, 2, 2\).*\(6, 5, 7\)"),
        ({"conductivity": -np.ones((6, 5, 7))}, "0 or more"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_settings_are_refused(options, match):
    with pytest.raises(CaseError, match=match):
        effective_tensor(three_phases(), **{"conductivity": ALL_CONDUCT, **options})
