"""The grid solver against a direct solution of small grids that is written face by face (reference.py)."""

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from battsim.solvers.grid.problem import Fixed, GridProblem
from battsim.solvers.grid.solve import solve_grid


def _beside(name):
    """A module beside this file; tests are no package."""
    spec = importlib.util.spec_from_file_location(f"grid_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _beside("reference")

TOLERANCE = 1e-9
"""Of the solver in what follows; the energies are then compared to ten times that."""

lengths = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9])
ends = st.sampled_from(["closed", "periodic", "fixed", "fixed low", "fixed unevenly"])
drawn = {
    "shape": st.tuples(lengths, lengths, lengths),
    "kinds": st.tuples(ends, ends, ends),
    "kind": st.sampled_from(["phases", "float32", "float64"]),
    "contrast": st.sampled_from([1.0, 8.0, 1e3, 1e5]),
    "porosity": st.sampled_from([0.4, 0.7, 1.0]),
    "stretch": st.sampled_from([(1.0, 1.0, 1.0), (0.1, 1.0, 10.0), (1e-2, 1.0, 1.0), (100.0, 1.0, 1.0)]),
    "sources": st.booleans(),
    "seed": st.integers(0, 1000),
}


def table(conductivity):
    """Half resistances of phases 0, 1, ...; what is beyond insulates."""
    r = np.full(256, np.inf)
    for phase, k in enumerate(conductivity):
        r[phase] = 0.5 / k if k > 0 else np.inf
    return r


def make_end(kind, shape, conducting, axis, rng):
    """Ends of one axis: conductances are 0 beside insulating voxels, and at random elsewhere."""
    if kind in ("closed", "periodic"):
        return kind
    across = shape[:axis] + shape[axis + 1 :]
    beside = conducting.take(0, axis), conducting.take(-1, axis)
    if kind == "fixed":
        return Fixed(1.0), Fixed(-0.5)
    if kind == "fixed low":
        return Fixed(rng.standard_normal(across)), Fixed(0.0, np.zeros(across))
    return tuple(Fixed(rng.standard_normal(across), beside[k] * rng.choice([0.0, 0.01, 3.0], across)) for k in range(2))


def balanced_sources(problem, rng):
    """Random sources that sum to zero in each floating cluster."""
    source = np.where(np.isfinite(reference.half_resistances(problem)), rng.standard_normal(problem.voxels.shape), 0.0)
    for mask in reference.floating_clusters(problem, reference.faces_of(problem)):
        source[mask] -= source[mask].mean()
    return source


def make_problem(shape, kinds, kind, contrast, porosity, stretch, sources, seed):
    rng = np.random.default_rng(seed)
    if kind == "phases":
        share = np.array([1 - porosity, 0.5 * porosity, 0.3 * porosity, 0.2 * porosity])
        labels, half = rng.choice(4, shape, p=share).astype(np.uint8), table([0.0, 1.0, contrast, contrast**-0.5])
        conducting = labels > 0
    else:
        conducting, half = rng.random(shape) < porosity, None
        labels = np.where(conducting, contrast ** rng.uniform(-0.5, 0.5, shape), 0.0).astype(kind)
    rise = tuple(float(rng.standard_normal()) if k == "periodic" else 0.0 for k in kinds)
    faces = tuple(make_end(k, shape, conducting, axis, rng) for axis, k in enumerate(kinds))
    problem = GridProblem(labels, half, stretch, faces, rise)
    return replace(problem, source=balanced_sources(problem, rng)) if sources else problem


def assert_same_solution(problem, found, expected):
    conducting = np.isfinite(expected.potential)
    at_zero = expected.faces.dissipation(np.zeros(conducting.shape))
    # where nothing closes the circuit the least energy is 0, and no error is small relative to that
    nothing_flows = max(abs(expected.energy), expected.dissipation) < 1e-6 * at_zero
    scale = 1e-6 * at_zero if nothing_flows else max(abs(expected.energy), expected.dissipation)
    assert found.converged or nothing_flows, found.status
    assert found.energy == pytest.approx(expected.energy, abs=1e-8 * scale)
    assert found.potential.dtype == np.float64
    np.testing.assert_array_equal(np.isfinite(found.potential), conducting)
    # the energy of the error is exactly by how much the energy is too large; it knows no constants of floating clusters
    error = found.potential - expected.potential
    assert expected.faces.dissipation(error, offset=False) <= 1e-8 * scale
    # which bounds the dissipation by the triangle inequality of its square root
    assert np.sqrt(found.dissipation) == pytest.approx(np.sqrt(expected.dissipation), abs=1e-4 * np.sqrt(scale))
    fluxes = reference.fluxes_of(problem, found.potential)
    assert found.fluxes.keys() == fluxes.keys()
    largest = max((abs(flux) for pair in fluxes.values() for flux in pair), default=0.0)
    for axis, pair in fluxes.items():
        # sums of up to a hundred terms of either sign
        assert found.fluxes[axis] == pytest.approx(pair, rel=1e-10, abs=1e-10 * largest + 1e-14)


def solved(problem, **options):
    return solve_grid(problem, **{"tolerance": TOLERANCE, "residual": 1e-9, "potential": True, "threads": 1, **options})


FAST = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@FAST
@given(**drawn)
def test_agrees_with_a_direct_solution(**description):
    problem = make_problem(**description)
    assert_same_solution(problem, solved(problem), reference.solve_reference(problem))


LARGER = [
    # shape, ends, voxels, contrast, porosity, stretch, sources; grids with several levels
    ((20, 21, 19), ("fixed", "closed", "closed"), "phases", 1.0, 0.4, (1.0, 1.0, 1.0), False),
    ((21, 20, 18), ("periodic", "periodic", "periodic"), "phases", 1.0, 0.7, (1.0, 1.0, 1.0), False),
    ((17, 19, 21), ("periodic", "periodic", "periodic"), "phases", 1e5, 1.0, (1.0, 1.0, 1.0), True),
    ((20, 20, 20), ("closed", "closed", "closed"), "float64", 1e3, 0.7, (1.0, 1.0, 1.0), True),
    ((19, 16, 23), ("fixed unevenly", "periodic", "fixed low"), "float32", 1e5, 0.7, (0.1, 1.0, 10.0), True),
    ((24, 24, 5), ("periodic", "fixed low", "closed"), "phases", 1e5, 0.7, (1.0, 1.0, 100.0), True),
    ((33, 2, 31), ("fixed", "periodic", "periodic"), "phases", 8.0, 0.7, (1e-2, 1.0, 1.0), False),
    ((1, 40, 37), ("periodic", "fixed", "periodic"), "float64", 1e5, 0.7, (1.0, 0.01, 1.0), False),
    ((150, 3, 3), ("fixed", "periodic", "closed"), "phases", 1e3, 1.0, (1.0, 1.0, 1.0), True),
]


@cache
def larger(index):
    """One of them, and its direct solution."""
    problem = make_problem(*LARGER[index], seed=7)
    return problem, reference.solve_reference(problem)


each_larger = pytest.mark.parametrize("index", range(len(LARGER)), ids=[str(description) for description in LARGER])


@each_larger
def test_larger_grids_agree_with_a_direct_solution(index):
    problem, expected = larger(index)
    assert_same_solution(problem, solved(problem), expected)


@each_larger
def test_threads_change_no_bit(index):
    problem, _ = larger(index)
    one, two = solved(problem, threads=1), solved(problem, threads=2)
    assert one.iterations == two.iterations
    assert (one.energy, one.dissipation, one.error_estimate) == (two.energy, two.dissipation, two.error_estimate)
    np.testing.assert_array_equal(one.potential, two.potential)


@each_larger
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_energy_is_an_upper_bound_within_its_estimate(index, tolerance):
    problem, expected = larger(index)
    found, least = solve_grid(problem, tolerance=tolerance), expected.energy
    assert found.converged
    assert found.potential is None
    too_large = found.energy - least
    assert -1e-12 * abs(least) <= too_large <= tolerance * abs(least)
    assert too_large <= found.error_estimate * abs(least) * (1 + 1e-6) + 1e-12 * abs(least)


@pytest.mark.parametrize(
    "description",
    [
        # beyond the reach of one float32 residual: contrasts of 1e7 with the faces' own, or a single fixed end
        ((5, 7, 5), ("closed", "periodic", "periodic"), "phases", 1e5, 0.4, (0.01, 1.0, 1.0), False, 132),
        ((2, 8, 7), ("periodic", "periodic", "fixed low"), "phases", 1e5, 0.7, (100.0, 1.0, 1.0), False, 561),
        ((3, 8, 2), ("fixed low", "fixed", "periodic"), "phases", 1e5, 0.4, (0.1, 1.0, 10.0), True, 886),
    ],
    ids=str,
)
def test_steps_after_round_off_in_the_residual_still_lead_down(description):
    problem = make_problem(*description)
    found = solved(problem)
    assert_same_solution(problem, found, reference.solve_reference(problem))
    assert found.iterations < 50


# exact answers and invariances


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (1, 2, 3), (6, 2, 1), (7, 5, 3)])
@pytest.mark.parametrize("axis", range(3))
def test_uniform_conductor_in_every_axis(shape, axis):
    k, factor, n = 3.0, (0.5, 1.0, 2.0), shape[axis]
    whole = np.full(shape, k)
    across = whole.size / n
    closed = ["closed"] * 3
    for end in ("fixed", "periodic"):
        sides, rise = list(closed), [0.0] * 3
        sides[axis] = (Fixed(0.0), Fixed(1.0)) if end == "fixed" else "periodic"
        rise[axis] = 0.0 if end == "fixed" else 1.0
        found = solved(GridProblem(whole, None, factor, tuple(sides), tuple(rise)))
        # n resistances 1 / (k factor) in a row, `across` rows beside one another
        assert found.dissipation == pytest.approx(k * factor[axis] * across / n, rel=1e-12)
        assert found.energy == pytest.approx(found.dissipation, rel=1e-12)
        slope = np.diff(found.potential, axis=axis)
        np.testing.assert_allclose(slope, 1.0 / n, rtol=1e-9)


def test_row_with_uniform_sources_and_one_fixed_end():
    n, k, source = 12, 2.0, 0.25
    sides = ((Fixed(1.0), Fixed(0.0, np.zeros((1, 1)))), "closed", "closed")
    problem = GridProblem(np.full((n, 1, 1), k), None, (1.0, 1.0, 1.0), sides, source=np.full((n, 1, 1), source))
    found = solved(problem, residual=1e-12)
    # face i carries the sources of the n - i voxels beyond it; the outer one is half a voxel long
    flux = source * (n - np.arange(n))
    resistance = np.full(n, 1 / k)
    resistance[0] = 0.5 / k
    exact = 1.0 + np.cumsum(flux * resistance)
    np.testing.assert_allclose(found.potential[:, 0, 0], exact, rtol=1e-8)
    assert found.dissipation == pytest.approx(float(flux**2 @ resistance), rel=1e-10)
    assert found.energy == pytest.approx(found.dissipation - 2 * source * exact.sum(), rel=1e-10)


def test_values_that_follow_a_linear_field_give_that_field():
    shape, slope = (5, 4, 6), np.array([0.3, -1.0, 0.2])
    centres = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in shape), indexing="ij"), axis=-1)
    field = centres @ slope
    sides = tuple(
        tuple(Fixed(np.take(field, place, axis) + step * slope[axis]) for place, step in ((0, -0.5), (-1, 0.5)))
        for axis in range(3)
    )
    found = solved(GridProblem(np.full(shape, 2.0), None, (1.0, 1.0, 1.0), sides))
    np.testing.assert_allclose(found.potential, field, atol=1e-9)
    assert found.dissipation == pytest.approx(2.0 * np.prod(shape) * slope @ slope, rel=1e-10)


def test_periodic_image_may_start_anywhere_and_be_repeated():
    rng = np.random.default_rng(2)
    labels = rng.choice(3, (7, 6, 5), p=[0.3, 0.4, 0.3]).astype(np.uint8)
    half, sides = table([0.0, 1.0, 50.0]), ("periodic",) * 3
    one = solved(GridProblem(labels, half, (1.0, 2.0, 0.5), sides, (1.0, -0.5, 0.0)))
    moved = solved(GridProblem(np.roll(labels, (3, 2, 1), (0, 1, 2)), half, (1.0, 2.0, 0.5), sides, (1.0, -0.5, 0.0)))
    twice = solved(GridProblem(np.tile(labels, (2, 1, 2)), half, (1.0, 2.0, 0.5), sides, (2.0, -0.5, 0.0)))
    assert one.energy > 0
    assert moved.energy == pytest.approx(one.energy, rel=1e-8)
    assert twice.energy == pytest.approx(4 * one.energy, rel=1e-8)


def test_scaling_of_conductivity_and_values():
    problem = make_problem((9, 8, 7), ("fixed unevenly", "periodic", "closed"), "float64", 8.0, 0.7, (1.0, 2.0, 0.5),
                           True, seed=1)  # fmt: skip
    ends_scaled = tuple(
        end if isinstance(end, str) else tuple(Fixed(3.0 * side.value, 1e-12 * side.conductance) for side in end)
        for end in problem.ends
    )
    scaled = replace(
        problem,
        voxels=1e-12 * problem.voxels,
        ends=ends_scaled,
        rise=tuple(3.0 * rise for rise in problem.rise),
        source=3e-12 * problem.source,
    )
    one, other = solved(problem), solved(scaled)
    assert other.energy == pytest.approx(9e-12 * one.energy, rel=1e-8)
    assert other.dissipation == pytest.approx(9e-12 * one.dissipation, rel=1e-8)


def test_insulating_grid_has_no_energy_and_no_potential():
    sides = ((Fixed(1.0), Fixed(0.0)), "periodic", "closed")
    found = solved(GridProblem(np.zeros((3, 4, 5)), None, (1.0, 1.0, 1.0), sides, (0.0, 1.0, 0.0)))
    assert found.converged
    assert (found.energy, found.dissipation) == (0.0, 0.0)
    assert np.isnan(found.potential).all()


@pytest.mark.parametrize("end", [(Fixed(1.0), Fixed(0.0)), "periodic"], ids=["dead ends", "a rise that nothing closes"])
def test_cut_circuit_carries_nothing(end):
    conducting = np.ones((6, 5, 4))
    conducting[3] = 0.0
    sides, rise = (end, "periodic", "closed"), (1.0 if end == "periodic" else 0.0, 0.0, 0.0)
    found = solved(GridProblem(conducting, None, (1.0, 1.0, 1.0), sides, rise))
    # of a linear start's 4; relative to nothing no error is small, so that the status may say that it stagnates
    assert abs(found.energy) < 1e-12
    assert abs(found.dissipation) < 1e-12


@pytest.mark.parametrize("end", [(Fixed(1.0), Fixed(0.0)), "periodic"], ids=["fixed", "periodic"])
def test_ends_that_meet_nothing_drive_nothing(end):
    """No voxel at the ends conducts, so that any constant solves it; a linear first guess does not."""
    conducting = np.ones((6, 5, 4))
    conducting[[0, -1]] = 0.0
    rise = (1.0 if end == "periodic" else 0.0, 0.0, 0.0)
    found = solved(GridProblem(conducting, None, (1.0, 1.0, 1.0), (end, "closed", "closed"), rise))
    assert found.converged
    assert (found.energy, found.dissipation) == (0.0, 0.0)


def test_solution_as_guess_needs_no_more_than_one_step():
    problem, _ = larger(4)
    first = solved(problem)
    again = solved(problem, guess=first.potential)
    assert again.converged
    assert again.iterations <= 1 < first.iterations
    assert again.energy == pytest.approx(first.energy, rel=2 * TOLERANCE)
