from dataclasses import replace
from itertools import permutations, product
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from battsim.errors import CaseError, NotConvergedError
from battsim.post.transport import effective, effective_transport, matrix, tortuosity
from battsim.solvers.linear import LinearStatus
from meshing.generate import blobs
from meshing.image import AXES, VoxelImage

UNIT = (1.0, 1.0, 1.0)
PHASES = ("pore", "active", "binder")
LENGTHS = ("outer", "centres")
SOLVERS = ("grid", "aggregation", "amg")
EXACT = 1e-11  # tightest tolerance; what follows asserts values to round-off


def three_phases(seed=0, shape=(7, 6, 5), voxel_size=UNIT):
    labels = np.random.default_rng(seed).choice(3, shape, p=[0.55, 0.25, 0.2]).astype(np.uint8)
    return VoxelImage(labels, voxel_size, PHASES)


def pore_of(mask, solver="grid", *, axis="x", voxel_size=UNIT, **options):
    """Transport through the voxels of a mask."""
    image = VoxelImage(np.where(mask, 0, 1).astype(np.uint8), voxel_size, PHASES)
    return effective_transport(image, {"pore": 1.0}, axis=axis, solver=solver, **options)


each_solver = pytest.mark.parametrize("solver", SOLVERS)


# exact cases


@pytest.mark.parametrize("voxel_size", [UNIT, (1e-6, 2e-6, 5e-7)])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("axis", AXES)
@each_solver
def test_straight_channel_is_exactly_one(solver, axis, length, voxel_size):
    image = np.zeros((8, 8, 8), bool)
    image[3:5, 2:4] = True
    image = np.moveaxis(image, 2, AXES.index(axis))
    result = pore_of(image, solver, axis=axis, voxel_size=voxel_size, length=length)
    assert result.tau == pytest.approx(1.0, abs=1e-12)
    assert result.tau_percolating == pytest.approx(1.0, abs=1e-12)
    assert result.D_eff == pytest.approx(1 / 16, rel=1e-12)
    assert result.percolating_fraction == 1.0
    assert result.flux_imbalance < 1e-12


@each_solver
def test_dead_end_does_not_percolate(solver):
    labels = np.ones((8, 5, 5), np.uint8)
    labels[:7, 2, 2] = 0
    result = effective_transport(VoxelImage(labels, UNIT, PHASES), {"pore": 1.0}, axis="x", solver=solver)
    assert result.tau is None
    assert result.tau_percolating is None
    assert result.D_eff == 0.0
    assert not result.percolates
    assert result.percolating_fraction == 0.0
    assert result.iterations == 0


@each_solver
def test_phase_without_a_voxel_does_not_percolate(solver):
    result = pore_of(np.zeros((3, 3, 3), bool), solver)
    assert (result.tau, result.D_eff, result.percolates) == (None, 0.0, False)


def path_of_one_voxel():
    """A path from low to high x with turns, and its length M in voxels over N layers."""
    image = np.zeros((9, 7, 7), bool)
    image[0:3, 1, 1] = image[2, 1:6, 1] = image[2:7, 5, 1] = image[6, 5, 1:6] = image[6:9, 5, 5] = True
    return image, int(image.sum()), 9


@each_solver
def test_path_of_one_voxel_is_its_length_squared(solver):
    image, M, N = path_of_one_voxel()
    result = pore_of(image, solver, tolerance=EXACT)
    assert M == 17
    assert result.tau == pytest.approx((M / N) ** 2, rel=1e-10)


@each_solver
def test_dead_branch_enters_tau_by_its_volume_only(solver):
    image, M, N = path_of_one_voxel()
    branched, floating = image.copy(), image.copy()
    branched[4, 1:5, 1] = branched[4, 1:4, 3] = False
    branched[4, 5, 2:4] = True
    floating[0:2, 6, 6] = True
    dead = pore_of(branched, solver, tolerance=EXACT)
    assert dead.tau == pytest.approx((M / N) ** 2 * (M + 2) / M, rel=1e-10)
    assert dead.tau_percolating == pytest.approx(dead.tau, rel=1e-14)
    apart = pore_of(floating, solver, tolerance=EXACT)
    assert apart.tau == pytest.approx((M / N) ** 2 * (M + 2) / M, rel=1e-10)
    assert apart.tau_percolating == pytest.approx((M / N) ** 2, rel=1e-10)
    assert apart.percolating_fraction == pytest.approx(M / (M + 2), rel=1e-14)


@each_solver
def test_slanted_strip(solver):
    image = np.zeros((20, 21, 21), bool)
    for i in range(20):
        image[i, i : i + 2, i : i + 2] = True
    result = pore_of(image, solver, tolerance=EXACT)
    assert result.tau == pytest.approx(451 / 60, rel=1e-10)


@pytest.mark.parametrize("voxel_size", [UNIT, (1e-6, 3e-6, 2e-7)])
@each_solver
def test_laminate_in_series_and_parallel(solver, voxel_size):
    labels = np.full((9, 4, 4), 1, np.uint8)
    labels[[0, 4, 8]] = 0
    image = VoxelImage(labels, voxel_size, ("a", "b"))
    series = effective_transport(image, {"a": 1.0, "b": 4.0}, axis="x", tolerance=EXACT, solver=solver)
    parallel = effective_transport(image, {"a": 1.0, "b": 4.0}, axis="y", tolerance=EXACT, solver=solver)
    assert series.D_eff == pytest.approx(2.0, rel=1e-10)
    assert parallel.D_eff == pytest.approx(3.0, rel=1e-12)


def octant_of_cubic_array(fraction, n):
    """Void around an eighth of an insulating sphere in the cell of a simple cubic array, n voxels per half cell."""
    r = n * (6 * fraction / pi) ** (1 / 3)  # of the sphere, where the half cell is n long
    x = (np.arange(n) + 0.5) ** 2
    return x[:, None, None] + x[:, None] + x > r**2


@pytest.mark.parametrize(
    ("fraction", "exact"), [(0.1, 0.857112), (0.2, 0.726703), (0.3, 0.605670), (0.4, 0.490306), (0.5, 0.376380)]
)
@each_solver
def test_cubic_array_of_spheres_from_below_at_first_order(solver, fraction, exact):
    """A. S. Sangani, A. Acrivos, Int. J. Multiphase Flow 9 (1983) 181-185: the conductivity of cubic arrays."""
    sizes = np.array([12, 24, 48])
    found = np.array([pore_of(octant_of_cubic_array(fraction, n), solver).D_eff for n in sizes])
    errors = exact - found
    assert (errors > 0).all()
    # staircases: the error wanders around first order, the more so the coarser; measured over a factor of four
    order = np.log(errors[0] / errors[-1]) / np.log(sizes[-1] / sizes[0])
    assert 0.7 < order < 1.5
    assert errors[-1] < 0.025 * exact


@each_solver
def test_dilute_spheres_follow_maxwell(solver):
    """J. C. Maxwell: D_eff = 2 (1 - phi) / (2 + phi) of the whole volume."""
    void = octant_of_cubic_array(0.02, 40)
    phi = 1 - void.mean()
    # next term of the cubic array: 3 phi 1.3 phi^(10/3), below 1e-5; staircases of the sphere: 0.07 phi, measured
    assert pore_of(void, solver, tolerance=1e-8).D_eff == pytest.approx(2 * (1 - phi) / (2 + phi), abs=0.1 * phi)


@pytest.mark.parametrize("length", LENGTHS)
@each_solver
def test_axis_of_one_voxel_is_refused_and_the_others_are_not(solver, length):
    whole = np.ones((1, 3, 4), bool)
    with pytest.raises(CaseError, match=r"along x.*1 x 3 x 4 voxels has one voxel there.*another axis"):
        pore_of(whole, solver, axis="x", length=length)
    with pytest.raises(CaseError, match="one voxel"):
        pore_of(np.ones((1, 1, 1), bool), solver, axis="z", length=length)
    for axis in ("y", "z"):
        assert pore_of(whole, solver, axis=axis, length=length).tau == pytest.approx(1.0, abs=1e-12)


# against an independent dense solve


def dense_effective(image, k, axis, length):
    """D_eff by looping over voxels and a dense least-squares solve of least norm, which no floating cluster upsets."""
    labels = np.moveaxis(image.labels, axis, 0)
    h = np.array([image.voxel_size[axis], *(image.voxel_size[a] for a in range(3) if a != axis)])
    largest, h = k.max(), h / h.min()
    k, n = k / largest, labels.shape
    A, b = np.zeros((labels.size, labels.size)), np.zeros(labels.size)
    at = lambda *p: np.ravel_multi_index(p, n)  # noqa: E731
    for p in np.ndindex(*n):
        if length == "centres" and p[0] in (0, n[0] - 1):
            A[at(*p), at(*p)], b[at(*p)] = 1.0, float(p[0] == 0)
            continue
        for a, s in product(range(3), (-1, 1)):
            q = tuple(np.array(p) + s * np.eye(3, dtype=int)[a])
            area = np.prod(h) / h[a]
            if all(0 <= c < m for c, m in zip(q, n, strict=True)):
                k1, k2 = k[labels[p]], k[labels[q]]
                g = 0.0 if k1 * k2 == 0 else area / h[a] * 2 * k1 * k2 / (k1 + k2)
                A[at(*p), at(*p)] += g
                A[at(*p), at(*q)] -= g
            elif a == 0:
                A[at(*p), at(*p)] += 2 * k[labels[p]] * area / h[a]
                b[at(*p)] += (s < 0) * 2 * k[labels[p]] * area / h[a]
    u = np.linalg.lstsq(A, b, rcond=1e-12)[0].reshape(n)
    layer = (n[0] - 1) // 2
    one, two = k[labels[layer]], k[labels[layer + 1]]
    g = np.divide(2 * one * two, one + two, out=np.zeros(one.shape), where=one * two > 0) * h[1] * h[2] / h[0]
    flux = np.sum(g * (u[layer] - u[layer + 1]))
    return largest * flux * (n[0] - (length == "centres")) * h[0] / (n[1] * n[2] * h[1] * h[2])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(2, 5)] * 3),
    conductivity=st.tuples(*[st.sampled_from([0.0, 1e-2, 0.3, 1.0, 40.0])] * 3).filter(any),
    voxel_size=st.tuples(*[st.sampled_from([1e-6, 2.5e-6, 4e-7])] * 3),
    axis=st.sampled_from(AXES),
    length=st.sampled_from(LENGTHS),
    solver=st.sampled_from(SOLVERS),
)
def test_random_images_against_a_dense_solve(seed, shape, conductivity, voxel_size, axis, length, solver):
    image = three_phases(seed, shape, voxel_size)
    k = dict(zip(PHASES, conductivity, strict=True))
    found = effective_transport(image, k, axis=axis, length=length, tolerance=EXACT, solver=solver)
    expected = dense_effective(image, np.array(conductivity), AXES.index(axis), length)
    assert found.D_eff == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert found.percolates == (expected > 1e-10)


# symmetries and several phases


def test_all_rotations_and_reflections_agree():
    image = three_phases(3, (6, 6, 6))
    k = {"pore": 1.0, "binder": 0.125}
    expected = {axis: effective_transport(image, k, axis=axis, tolerance=EXACT).D_eff for axis in AXES}
    assert len({round(value, 6) for value in expected.values()}) == 3
    count = 0
    for order in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            labels = image.labels.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
            turned = VoxelImage(labels, UNIT, PHASES)
            for a, axis in enumerate(AXES):
                found = effective_transport(turned, k, axis=axis, tolerance=EXACT)
                assert found.D_eff == pytest.approx(expected[AXES[order[a]]], rel=1e-10)
            count += 1
    assert count == 48


@each_solver
@pytest.mark.parametrize("contrast", [1e-4, 1e4])
def test_high_contrast_and_flat_voxels_converge(contrast, solver):
    image = three_phases(5, (24, 16, 16), (1.0, 0.2, 5.0))
    for axis in AXES:
        result = effective_transport(image, {"pore": 1.0, "binder": contrast}, axis=axis, tolerance=1e-6, solver=solver)
        reference = effective_transport(
            image, {"pore": 1.0, "binder": contrast}, axis=axis, tolerance=1e-10, solver="amg"
        )
        assert 0 <= result.D_eff / reference.D_eff - 1 + 1e-10 <= 1e-6
        assert result.iterations < 80


def test_electronic_conductivity_of_active_and_binder_is_the_same_call():
    labels = np.zeros((8, 3, 1), np.uint8)
    labels[:, 0] = 1
    labels[:, 1] = 2
    image = VoxelImage(labels, UNIT, PHASES)
    siemens = effective_transport(image, {"active": 0.18, "binder": 100.0}, axis="x", bulk=100.0)
    assert siemens.D_eff == pytest.approx((0.18 + 100.0) / 3 / 100.0, rel=1e-12)
    assert siemens.tau == pytest.approx(2 / 3 / siemens.D_eff, rel=1e-12)
    relative = effective_transport(image, {"active": 0.0018, "binder": 1.0}, axis="x")
    assert relative.D_eff == pytest.approx(siemens.D_eff, rel=1e-12)


def test_porosity_weighs_eps_and_nothing_else():
    image = three_phases(8, (8, 8, 8))
    k = {"pore": 1.0, "binder": 0.125}
    plain = effective_transport(image, k, axis="x", tolerance=EXACT)
    weighed = effective_transport(image, k, axis="x", tolerance=EXACT, porosity={"binder": 0.5})
    pore, binder = image.volume_fraction("pore"), image.volume_fraction("binder")
    assert weighed.D_eff == plain.D_eff
    assert plain.tau == pytest.approx((pore + binder) / plain.D_eff, rel=1e-14)
    assert weighed.tau == pytest.approx((pore + 0.5 * binder) / plain.D_eff, rel=1e-14)


def test_nanoporous_binder_lies_between_blocking_and_open():
    image = three_phases(9, (10, 10, 10))
    D = [
        effective_transport(image, {"pore": 1.0, "binder": k}, axis="x", tolerance=1e-8).D_eff
        for k in (0.0, 1e-6, 0.125, 1.0)
    ]
    assert D[0] < D[1] < D[2] < D[3]
    assert D[1] == pytest.approx(D[0], rel=1e-3)


def test_tolerance_is_kept():
    image = blobs((24, 24, 24), 0.4, 1.5, np.random.default_rng(0))
    exact = effective_transport(image, {"pore": 1.0}, axis="x", tolerance=EXACT).D_eff
    for tolerance in (1e-2, 1e-4, 1e-6):
        for solver in SOLVERS:
            found = effective_transport(image, {"pore": 1.0}, axis="x", tolerance=tolerance, solver=solver)
            assert 0 <= found.D_eff / exact - 1 + EXACT <= found.error_estimate <= tolerance


# refusals


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_conductivity_is_refused_by_its_key(bad):
    with pytest.raises(CaseError, match=r"transport\.conductivity\.binder"):
        effective_transport(three_phases(), {"pore": 1.0, "binder": bad}, axis="x")


@pytest.mark.parametrize("conductivity", [{}, {"pore": 0.0}, {"pore": 0.0, "binder": 0.0}])
def test_nothing_conducts_is_refused(conductivity):
    with pytest.raises(CaseError, match="nothing conducts"):
        effective_transport(three_phases(), conductivity, axis="x")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"porosity": {"binder": 0.5}}, r"transport\.porosity\.binder.*does not conduct"),
        ({"porosity": {"pore": 0.0}}, r"transport\.porosity\.pore"),
        ({"porosity": {"pore": np.nan}}, r"transport\.porosity\.pore"),
        ({"porosity": {"void": 0.5}}, r"transport\.porosity\.void.*pore, active, binder"),
        ({"axis": "w"}, r"axis = 'w' is no axis"),
        ({"bulk": 0.0}, "bulk"),
        ({"bulk": np.nan}, "bulk"),
        ({"length": "inner"}, r"transport\.length"),
        ({"tolerance": 1e-15}, r"tolerance = 1e-15"),
        ({"tolerance": np.nan}, r"tolerance = nan"),
        ({"solver": "lu"}, "solver"),
    ],
)
def test_bad_settings_are_refused_by_their_key(options, match):
    with pytest.raises(CaseError, match=match):
        effective_transport(three_phases(), {"pore": 1.0}, **{"axis": "x", **options})


def test_unknown_phase_is_refused_by_its_key():
    with pytest.raises(CaseError, match=r"transport\.conductivity\.pores.*pore, active, binder"):
        effective_transport(three_phases(), {"pores": 1.0}, axis="x")


@pytest.mark.parametrize(
    ("image", "options", "match"),
    [
        (np.ones((3, 3, 3)), {}, r"values 1\.0"),
        (np.ones((3, 3, 3)), {"phase": 0.5}, r"no voxel.*holds 1\.0"),
        (np.where(np.eye(3, dtype=bool)[:, None], np.nan, 1.0), {"phase": 1}, "NaN"),
        (np.ones((3, 3, 3), complex), {"phase": 1}, "complex128"),
        (np.ones((3, 3), bool), {}, "2 axes"),
        (np.ones((3, 3, 3), bool), {"voxel_size": (1.0, 2.0)}, r"voxel_size = \(1\.0, 2\.0\)"),
        (np.ones((3, 3, 3), int), {}, "values 1"),
        (np.ones((3, 3, 3), int), {"phase": 4}, "no voxel"),
        (np.ones((3, 3, 3), int), {"phase": "pore"}, "no names"),
        (three_phases(), {"phase": 0}, "names its phases"),
        (three_phases(), {"phase": "pores"}, "pores"),
    ],
)
def test_one_line_call_refuses_what_it_cannot_understand(image, options, match):
    with pytest.raises(CaseError, match=match):
        tortuosity(image, "x", **options)


def test_one_line_call_takes_arrays_and_images_alike():
    image = three_phases(2, (8, 8, 8))
    expected = tortuosity(image, "y").D_eff
    assert tortuosity(image.labels == 0, "y").D_eff == expected
    assert tortuosity(image.labels, "y", phase=0).D_eff == expected
    assert tortuosity(image.labels.astype(np.int16) - 5, "y", phase=-5).D_eff == expected
    assert tortuosity(image.labels / 4, "y", phase=0.0).D_eff == expected
    assert tortuosity(np.where(image.labels == 0, 0.25, np.inf), "y", phase=0.25).D_eff == expected
    assert tortuosity((image.labels == 0).tolist(), "y").D_eff == expected
    assert tortuosity(image, "y", phase="pore").D_eff == expected
    assert tortuosity(image.labels == 0, "y", voxel_size=np.float32(2.0)).D_eff == pytest.approx(expected, rel=1e-12)


def spoil(monkeypatch, solver, change):
    """Let what the solver returns pass through `change`."""
    module, name = (effective, "solve_grid") if solver == "grid" else (matrix, "minimise_energy")
    solve = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: change(solve(*args, **kwargs)))


@each_solver
@pytest.mark.parametrize(
    "wrong", [{"status": LinearStatus.STAGNATION}, {"energy": np.nan}, {"energy": 0.0}, {"energy": -1.0}]
)
def test_no_number_comes_out_of_a_failed_check(monkeypatch, solver, wrong):
    image = three_phases()
    effective_transport(image, {"pore": 1.0}, axis="x", solver=solver)
    spoil(monkeypatch, solver, lambda result: replace(result, **wrong))
    with pytest.raises(NotConvergedError, match="transport along x did not reach"):
        effective_transport(image, {"pore": 1.0}, axis="x", solver=solver)


@each_solver
@pytest.mark.parametrize("share", [1.01, 1.1])
def test_more_may_flow_out_than_in_by_no_more_than_the_tolerance_allows(monkeypatch, solver, share):
    """Twice the square root of the tolerance: at 1e-3 0.063."""
    image = three_phases()
    before = effective_transport(image, {"pore": 1.0}, axis="x", solver=solver, tolerance=EXACT)

    def unbalanced(result):
        if solver != "grid":  # a potential that is higher by a constant lets less in and more out
            flux_per_unit = 2.0 * np.count_nonzero(image.labels[[0, -1]] == 0)
            return replace(result, x=result.x + (share - 1.0) * result.energy / flux_per_unit)
        low, high = result.fluxes[0]
        return replace(result, fluxes={0: (low, high * share)})

    spoil(monkeypatch, solver, unbalanced)
    if share == 1.01:
        after = effective_transport(image, {"pore": 1.0}, axis="x", solver=solver, tolerance=1e-3)
        assert after.D_eff == pytest.approx(before.D_eff, rel=1e-3)
        assert after.flux_imbalance > 1e-3
    else:
        with pytest.raises(NotConvergedError, match="flux imbalance"):
            effective_transport(image, {"pore": 1.0}, axis="x", solver=solver, tolerance=1e-3)
