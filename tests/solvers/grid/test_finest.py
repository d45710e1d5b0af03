"""The two kinds of finest levels against dense matrices that are put together face by face (reference.py)."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from battsim import threads
from battsim.solvers.grid import uniform, weighted
from battsim.solvers.grid.halo import wrap
from battsim.solvers.grid.problem import Fixed, GridProblem
from battsim.solvers.grid.solve import finest_level
from battsim.solvers.grid.uniform import UniformLevel, uniform_conductance
from battsim.solvers.grid.weighted import WeightedLevel
from battsim.threads import Team


def _beside(name):
    """A module beside this file; tests are no package."""
    spec = importlib.util.spec_from_file_location(f"grid_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _beside("reference")

ENDS = {
    "closed": ("closed",) * 3,
    "fixed": ((Fixed(1.0), Fixed(-0.5)), "closed", "closed"),
    "fixed everywhere": ((Fixed(1.0), Fixed(0.0)),) * 3,
    "periodic": ("periodic",) * 3,
    "mixed": ("periodic", (Fixed(2.0), Fixed(0.0)), "closed"),
}
SHAPES = [(4, 4, 4), (5, 3, 4), (3, 4, 5), (6, 1, 5), (1, 5, 2), (2, 2, 1)]
KINDS = ["uniform", "weighted"]
each_case = pytest.mark.parametrize(
    ("kind", "ends", "shape"), [(kind, ends, shape) for kind in KINDS for ends in ENDS for shape in SHAPES]
)


@pytest.fixture
def team(monkeypatch):
    """Two threads that share whatever there is."""
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 1)
    with Team(2) as two:
        yield two


def problem_of(kind, ends, shape, *, seed=0, contrast=100.0, factor=(1.0, 2.0, 0.5)):
    """A grid with insulating voxels, a rise along periodic axes and sources, for one kind of level or for both."""
    rng = np.random.default_rng(seed)
    rise = tuple(0.7 if end == "periodic" else 0.0 for end in ENDS[ends])
    conducting = rng.random(shape) < 0.8
    source = np.where(conducting, rng.standard_normal(shape), 0.0)
    if kind == "uniform":
        half = np.full(256, np.inf)
        half[1] = 0.25
        return GridProblem(conducting.astype(np.uint8), half, (3.0,) * 3, ENDS[ends], rise, source)
    conductivity = np.where(conducting, contrast ** rng.uniform(-0.5, 0.5, shape), 0.0)
    return GridProblem(conductivity, None, factor, ENDS[ends], rise, source)


def dense(problem):
    """Matrix on all voxels in C order, and its right-hand side."""
    faces = reference.faces_of(problem)
    B = faces.B.toarray()
    b = (0 if problem.source is None else problem.source.ravel()) - B.T @ (faces.g * faces.offset)
    return B.T @ (faces.g[:, None] * B), b


def columns_of(operator, level):
    """The matrix of a linear operator on grids, by unit vectors."""
    n = int(np.prod(level.shape))
    return np.column_stack([operator(e.reshape(level.shape)).ravel() for e in np.eye(n)])


def applied(level, values):
    """A p, by a step of -1 from a residual of 0."""
    p, r = level.split(values, np.float32), level.vector()
    level.curvature(p)  # brings the padding up to date
    level.advance(p, -1.0, 1.0, np.zeros(r.shape), r)
    return level.unit * level.joined(r).astype(float)


def cycled(level, values):
    z = level.vector()
    z += 7.0 * (level.inverse > 0)  # whatever it held, as an earlier cycle leaves it
    wrap(z, level.shape, level.periodic)
    level.cycle(level.split(values, np.float32), z)
    return level.joined(z).astype(float) / level.unit


# ---- the operator


@each_case
def test_operator_is_the_matrix_of_all_faces(team, kind, ends, shape):
    problem = problem_of(kind, ends, shape)
    level, (A, _) = finest_level(problem, team), dense(problem)
    assert isinstance(level, UniformLevel if kind == "uniform" else WeightedLevel)
    coupled = np.diag(A) > 0  # vectors are 0 elsewhere
    columns = columns_of(lambda e: applied(level, e * coupled.reshape(shape)), level)
    # couplings in float32; those of the uniform level are whole numbers, and exact
    tolerance = 1e-12 if kind == "uniform" else 1e-6
    np.testing.assert_allclose(columns, A, atol=tolerance * A.max(initial=1.0))


@each_case
def test_step_and_curvature_are_those_of_conjugate_gradients(team, kind, ends, shape):
    problem = problem_of(kind, ends, shape)
    level, (A, _) = finest_level(problem, team), dense(problem)
    rng = np.random.default_rng(1)
    conducting = np.isfinite(reference.half_resistances(problem)) & (np.diag(A).reshape(shape) > 0)
    p, x, r = (np.where(conducting, rng.standard_normal(shape), 0.0).astype(np.float32) for _ in range(3))
    P, X, R = level.split(p, np.float32), level.split(x, np.float64), level.split(r, np.float32)
    Ap = A @ p.ravel().astype(float) / level.unit
    assert level.curvature(P) == pytest.approx(p.ravel() @ Ap, rel=1e-6, abs=1e-12)
    square, total = level.advance(P, 0.25, 8.0, X, R)
    np.testing.assert_array_equal(level.joined(X), x + 2.0 * p.astype(float))
    left = r.ravel() - 0.25 * Ap
    np.testing.assert_allclose(level.joined(R).ravel(), left, atol=1e-5)  # float32
    assert square == pytest.approx(left @ left, rel=1e-5)
    assert total == pytest.approx(left.sum(), abs=1e-4)
    assert level.dot(R, P) == pytest.approx(left @ p.ravel(), abs=1e-4)
    assert level.sums(R)[1] == pytest.approx(total, abs=1e-5)


@each_case
def test_residual_is_computed_in_float64(team, kind, ends, shape):
    problem = problem_of(kind, ends, shape)
    level, (A, b) = finest_level(problem, team), dense(problem)
    rng = np.random.default_rng(2)
    conducting = np.isfinite(reference.half_resistances(problem)) & (np.diag(A).reshape(shape) > 0)
    u = np.where(conducting, rng.standard_normal(shape), 0.0)
    # sources that leave next to nothing: round-off of float32 is ten thousand times larger than what is left
    left = np.where(conducting, 1e-11 * rng.standard_normal(shape), 0.0)
    source = (A @ u.ravel() - (b - problem.source.ravel())).reshape(shape) + left
    level = finest_level(replace(problem, source=source), team)
    r = level.vector()
    level.residual(level.split(u, np.float64), r, 1e-11)
    # values of order 100 in float64, over 1e-11; float32 keeps seven digits of the quotient
    np.testing.assert_allclose(1e-11 * level.unit * level.joined(r), left, atol=2e-13 * max(1.0, A.max(initial=0.0)))


@each_case
def test_dissipation_drive_and_fluxes_are_those_of_all_faces(team, kind, ends, shape):
    problem = problem_of(kind, ends, shape)
    level, faces = finest_level(problem, team), reference.faces_of(problem)
    A, b = dense(problem)
    conducting = np.isfinite(reference.half_resistances(problem)) & (np.diag(A).reshape(shape) > 0)
    u = np.where(conducting, np.random.default_rng(3).standard_normal(shape), 0.0)
    x = level.split(u, np.float64)
    level.residual(x, level.vector(), 1.0)  # brings the padding up to date
    assert level.unit * level.dissipation(x) == pytest.approx(faces.dissipation(u), rel=1e-13)
    assert level.unit * level.work(x) == pytest.approx(np.vdot(problem.source, u), rel=1e-12)
    driven = (faces.g * faces.offset)[faces.offset != 0]
    twice = np.where(abs(faces.B[faces.offset != 0]).sum(axis=1) == 1, 1.0, 2.0)  # both voxels at a rise
    squares = np.vdot(problem.source, problem.source) + twice @ driven**2
    if min(shape) > 1:  # a periodic axis of one voxel: its rises cancel, and are counted all the same
        assert level.unit * level.drive() == pytest.approx(np.sqrt(squares), rel=1e-13)
    fluxes = reference.fluxes_of(problem, u)
    assert {end.axis for end in level.ends} == set(fluxes)
    for axis, pair in fluxes.items():
        found = [level.unit * level.flux(end, x) for end in level.ends if end.axis == axis]
        assert found == pytest.approx(pair, rel=1e-12)
    assert np.isfinite(b).all()


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_kinds_agree_where_both_apply(team, ends, shape):
    problem = problem_of("uniform", ends, shape)
    one, other = UniformLevel(problem, uniform_conductance(problem, team), team), WeightedLevel(problem, team)
    assert one.unit != other.unit
    values = np.random.default_rng(4).standard_normal(shape) * (problem.voxels == 1) * (one.joined(one.inverse) > 0)
    np.testing.assert_allclose(applied(one, values), applied(other, values), rtol=1e-6, atol=1e-5)
    x, y = one.split(values, np.float64), other.split(values, np.float64)
    r, s = one.vector(), other.vector()
    one.residual(x, r, 1.0)
    other.residual(y, s, 1.0)
    np.testing.assert_allclose(one.unit * r, other.unit * s, rtol=1e-6, atol=1e-5)
    assert one.unit * one.drive() == pytest.approx(other.unit * other.drive(), rel=1e-14)
    assert one.unit * one.dissipation(x) == pytest.approx(other.unit * other.dissipation(y), rel=1e-14)
    np.testing.assert_array_equal(one.inverse > 0, other.inverse > 0)


# ---- which kind


def test_uniform_conductance_asks_for_one_conductivity_cubes_and_whole_ends(team):
    problem = problem_of("uniform", "fixed", (4, 4, 4))
    unit = 3.0 / (2 * 0.25)
    assert uniform_conductance(problem, team) == unit
    unused = problem.half_resistance.copy()
    unused[2] = 1.0
    assert uniform_conductance(replace(problem, half_resistance=unused), team) == unit
    labels = problem.voxels.copy()
    labels[0, 0, 0] = 2
    assert uniform_conductance(replace(problem, half_resistance=unused, voxels=labels), team) is None
    assert uniform_conductance(replace(problem, face_factor=(3.0, 3.0, 3.1)), team) is None
    for share, expected in ((2.0, unit), (0.5, None), (2.0**22, unit), (2.0**23, None)):
        ends = (Fixed(1.0, np.full((4, 4), share * unit)), Fixed(0.0)), "closed", "closed"
        assert uniform_conductance(replace(problem, ends=ends), team) == expected


@pytest.mark.parametrize("share", [2.0**22, 2.0**22 - 1, 7_000_001.0])
def test_diagonal_survives_large_end_conductances(team, share):
    # beyond 5.9e6 a float32 inverse no longer gives a whole diagonal back, and stored couplings are differences
    problem = problem_of("uniform", "fixed", (3, 2, 2))
    unit = uniform_conductance(problem, team)
    problem = replace(problem, ends=((Fixed(1.0, np.full((2, 2), share * unit)), Fixed(0.0)), "closed", "closed"))
    level, (A, b) = finest_level(problem, team), dense(problem)
    x = np.where(problem.voxels == 1, 1.0, 0.0)
    r = level.vector()
    level.residual(level.split(x, np.float64), r, 1.0)
    np.testing.assert_allclose(level.unit * level.joined(r).ravel(), b - A @ x.ravel(), atol=1e-6)


# ---- the cycle


@pytest.mark.parametrize("levels", ["dense inverse", "several levels"])
@each_case
def test_cycle_is_symmetric_and_positive(team, monkeypatch, kind, ends, shape, levels):
    if levels == "several levels":
        for module in (uniform, weighted):
            monkeypatch.setattr(module, "SETTINGS", replace(module.SETTINGS, coarsest_size=2))
    problem = problem_of(kind, ends, shape)
    level, (A, _) = finest_level(problem, team), dense(problem)
    cycle = columns_of(lambda e: cycled(level, e), level)
    coupled = np.diag(A) > 0
    np.testing.assert_array_equal(cycle[~coupled], 0)
    B = cycle[np.ix_(coupled, coupled)]
    np.testing.assert_allclose(B, B.T, atol=3e-6 * np.abs(B).max())  # float32
    # as a preconditioner of A, without A's null space: constants of floating clusters
    values = np.linalg.eigvals(B @ A[np.ix_(coupled, coupled)]).real
    values = values[values > 1e-4]
    assert values.size >= np.linalg.matrix_rank(A, tol=1e-6 * A.max())
    assert np.linalg.eigvalsh((B + B.T) / 2)[0] > 0
    assert values.min() > 0.3
    assert values.max() < 2.0


@pytest.mark.parametrize("coarsest_size", [800, 1], ids=["dense inverse", "several levels"])
def test_voxel_with_no_coupling_but_a_fixed_potential_is_solved_at_once(team, monkeypatch, coarsest_size):
    monkeypatch.setattr(weighted, "SETTINGS", replace(weighted.SETTINGS, coarsest_size=coarsest_size))
    conductivity = np.zeros((5, 4, 3))
    conductivity[0, 1, 1] = 3.0
    conductivity[2:, 2, 1:] = 1.0
    problem = GridProblem(conductivity, None, (1.0, 1.0, 1.0), ((Fixed(1.0), Fixed(0.0)), "closed", "closed"))
    level = WeightedLevel(problem, team)
    network = level.hierarchy.levels[0]
    lonely = np.diff(network.pointers) == 0
    np.testing.assert_array_equal(lonely, [True, False, False, False, False])
    assert network.ground[0] > 0
    if coarsest_size == 1:
        assert network.aggregate[0] == -1
    # half a voxel of conductivity 3
    assert cycled(level, np.where(conductivity > 0, 1.0, 0.0))[0, 1, 1] == pytest.approx(1 / 6.0, rel=1e-6)


# ---- aggregates of the weighted level


def aggregates_of(problem, team):
    level = WeightedLevel(problem, team)
    return level.joined(level._aggregate), level


def strong_parts(problem, strength=0.25):
    """Aggregates by the rule, voxel by voxel: numbered block by block and by their first voxel."""
    faces, shape = reference.faces_of(problem), problem.voxels.shape
    B, n = faces.B.toarray(), problem.voxels.size
    pairs = [(np.flatnonzero(row), g) for row, g in zip(B, faces.g, strict=True)]
    largest = np.zeros(n)
    for nodes, g in pairs:
        largest[nodes] = np.maximum(largest[nodes], g)
    block = np.ravel_multi_index(
        [index // 2 for index in np.indices(shape).reshape(3, -1)], [s // 2 + 1 for s in shape]
    )
    strong = [(*nodes, g) for nodes, g in pairs if nodes.size == 2 and g >= strength * largest[nodes].max()]
    alone = np.ones(n, bool)
    joined = np.zeros((n, n), bool)
    for a, b, _ in strong:
        alone[[a, b]] = False
        joined[a, b] = block[a] == block[b]
    inner = [(*nodes, g) for nodes, g in pairs if nodes.size == 2 and block[nodes[0]] == block[nodes[1]]]
    for node in np.flatnonzero(alone & (largest > 0)):
        offers = [(g, a + b - node) for a, b, g in inner if node in (a, b) and not alone[a + b - node]]
        g, best = max(offers, default=(0.0, -1))
        if g >= strength * largest[node]:
            joined[node, best] = True
    _, part = connected_components(joined, directed=False)
    order, numbers = [], np.full(n, -1)
    for node in np.lexsort((np.arange(n), block)):
        if largest[node] > 0:
            if part[node] not in order:
                order.append(part[node])
            numbers[node] = order.index(part[node])
    return numbers.reshape(shape), faces


def test_layers_of_high_contrast_stay_apart(team):
    conductivity = np.ones((4, 4, 4))
    conductivity[:, :, 1::2] = 100.0
    numbers, level = aggregates_of(GridProblem(conductivity, None, (1.0, 1.0, 1.0), ENDS["closed"]), team)
    assert level.hierarchy.levels[0].n_nodes == 16
    for number in range(16):
        members = conductivity[numbers == number]
        assert members.size == 4
        assert np.ptp(members) == 0


@pytest.mark.parametrize("axis", range(3))
def test_strong_axis_is_joined_alone(team, axis):
    factor = tuple(100.0 if a == axis else 1.0 for a in range(3))
    numbers, level = aggregates_of(GridProblem(np.ones((4, 6, 4)), None, factor, ENDS["closed"]), team)
    assert level.hierarchy.levels[0].n_nodes == 48
    along = np.moveaxis(numbers, axis, 0)
    np.testing.assert_array_equal(along[::2], along[1::2])


def test_weakly_coupled_voxel_follows_its_strongest_neighbour(team):
    # five voxels of 1 and a poor one between two of them, with its better contact along z
    conductivity = np.zeros((2, 2, 2))
    conductivity[:, 0, 0] = conductivity[:, 1, 1] = 1.0
    conductivity[0, 0, 1] = 1e-3
    problem = GridProblem(conductivity, None, (1.0, 1.0, 1.5), ENDS["closed"])
    numbers, _ = aggregates_of(problem, team)
    np.testing.assert_array_equal(numbers, [[[0, 0], [-1, 1]], [[0, -1], [-1, 1]]])


@pytest.mark.parametrize("ends", ["closed", "fixed everywhere"])
@pytest.mark.parametrize("shape", [(6, 5, 4), (5, 4, 7), (1, 6, 5), (8, 2, 3)])
@pytest.mark.parametrize("contrast", [10.0, 1e4])
def test_aggregates_and_their_network_follow_the_rule(team, ends, shape, contrast):
    problem = problem_of("weighted", ends, shape, contrast=contrast, factor=(1.0, 1.1, 0.9), seed=5)
    found, level = aggregates_of(problem, team)
    numbers, faces = strong_parts(problem)
    np.testing.assert_array_equal(found, numbers)
    network = level.hierarchy.levels[0]
    expected, ground = np.zeros((network.n_nodes,) * 2), np.zeros(network.n_nodes)
    for row, g in zip(faces.B.toarray(), faces.g, strict=True):
        a, b = numbers.ravel()[np.flatnonzero(row)][[0, -1]]
        if np.count_nonzero(row) == 1:
            ground[a] += g
        elif a != b:
            expected[[a, b], [b, a]] += g
    rows = np.repeat(np.arange(network.n_nodes), np.diff(network.pointers))
    assert (np.diff(rows * network.n_nodes + network.columns) > 0).all()  # sorted, and each pair once
    couplings = np.zeros_like(expected)
    couplings[rows, network.columns] = level.unit * network.weights
    np.testing.assert_allclose(couplings, expected, rtol=1e-6)
    np.testing.assert_allclose(level.unit * network.ground, ground, rtol=1e-6)
    first, at = np.unique(numbers, return_index=True)
    indices = np.column_stack(np.unravel_index(at[first >= 0], shape))
    np.testing.assert_array_equal(network.position, indices // 2)


# ---- what a problem takes


@pytest.mark.parametrize("kind", KINDS)
def test_layout_of_the_arrays_changes_nothing(team, kind):
    problem = problem_of(kind, "mixed", (5, 4, 3))
    other = replace(
        problem, voxels=np.asfortranarray(problem.voxels), source=np.asfortranarray(problem.source.astype(">f8"))
    )
    frozen = problem.voxels.copy()
    frozen.setflags(write=False)
    assert np.shares_memory(problem.voxels, replace(problem).voxels)
    results = []
    for one in (problem, other, replace(problem, voxels=frozen)):
        assert one.voxels.flags.c_contiguous  # one type, for which kernels are compiled once
        assert one.voxels.flags.writeable
        level = finest_level(one, team)
        r = level.vector()
        level.residual(level.split(problem.source, np.float64), r, 1.0)
        results.append((level.joined(r), cycled(level, problem.source)))
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])


def test_voxels_of_other_types_are_refused():
    with pytest.raises(ValueError, match="voxels have type int64"):
        GridProblem(np.ones((2, 2, 2), np.int64), None, (1.0, 1.0, 1.0), ENDS["closed"])
