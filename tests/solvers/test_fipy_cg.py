"""FiPy's conjugate gradients: exact where they can be, loud where they cannot."""

import numpy as np
import pytest
from fipy import CellVariable, DiffusionTerm, FaceVariable, Grid2D, TransientTerm

from battsim.errors import NotConvergedError
from battsim.solvers.fipy_cg import DiagonalPreconditioner, MultigridPreconditioner, StrictCG


@pytest.fixture
def problem():
    """div(k grad u) = 0 between 0 and 1 with k from 1 to 100, and its solution by FiPy's factorisation."""
    from fipy.solvers.scipy import LinearLUSolver

    mesh = Grid2D(nx=40, ny=40, dx=1.0, dy=1.0)
    k = FaceVariable(mesh=mesh, value=10.0 ** np.random.default_rng(1).uniform(0, 2, mesh.numberOfFaces))

    def field():
        u = CellVariable(mesh=mesh, value=0.3)
        u.constrain(0.0, mesh.facesLeft)
        u.constrain(1.0, mesh.facesRight)
        return u

    exact = field()
    DiffusionTerm(coeff=k).solve(var=exact, solver=LinearLUSolver(tolerance=1e-13, iterations=10))
    return DiffusionTerm(coeff=k), k, field, exact.value


@pytest.mark.parametrize(
    "precon", [DiagonalPreconditioner(), MultigridPreconditioner("amg"), MultigridPreconditioner()], ids=lambda p: p
)
def test_answer_and_iterations(problem, precon):
    equation, _, field, exact = problem
    u, solver = field(), StrictCG(precon, tolerance=1e-10)
    equation.solve(var=u, solver=solver)
    np.testing.assert_allclose(u.value, exact, atol=1e-7)
    assert solver.total == (solver.actualIterations)
    assert solver.total < (400 if isinstance(precon, DiagonalPreconditioner) else 40)


def test_solved_already_costs_nothing(problem):
    equation, _, field, exact = problem
    precon = MultigridPreconditioner("amg")
    u, solver = field(), StrictCG(precon)
    solver.absolute_tolerance = 1e-6
    u.setValue(exact)
    equation.solve(var=u, solver=solver)
    assert solver.total == 0
    assert precon._cycle is None
    assert np.array_equal(u.value, exact)


def test_both_signs_of_an_equation_are_solved(problem):
    _, _, field, _ = problem
    mesh = field().mesh
    found = []
    for equation in (TransientTerm() == DiffusionTerm(coeff=2.0), DiffusionTerm(coeff=2.0) == TransientTerm()):
        u = CellVariable(mesh=mesh, value=np.arange(mesh.numberOfCells) % 7.0, hasOld=True)
        equation.solve(var=u, solver=StrictCG(MultigridPreconditioner(), tolerance=1e-12), dt=0.5)
        found.append(u.value)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
    assert np.ptp(found[0]) < 6.0


def test_too_few_iterations_are_an_error_not_a_warning(problem):
    equation, _, field, _ = problem
    with pytest.raises(NotConvergedError, match="gave up"):
        equation.solve(var=field(), solver=StrictCG(DiagonalPreconditioner(), tolerance=1e-10, iterations=3))


def test_values_that_are_not_finite_are_an_error(problem):
    equation, k, field, _ = problem
    value = k.value.copy()
    value[5] = np.nan
    k.setValue(value)
    with pytest.raises(NotConvergedError, match="not finite"):
        equation.solve(var=field(), solver=StrictCG(DiagonalPreconditioner()))


def test_cell_that_nothing_ties_down_is_an_error(problem):
    equation, k, field, _ = problem
    k.setValue(0.0)
    with pytest.raises(NotConvergedError, match="nothing ties down"):
        equation.solve(var=field(), solver=StrictCG(DiagonalPreconditioner()))


@pytest.mark.parametrize("decades", [2, 4])
def test_hierarchy_is_kept_until_it_is_outworn(problem, decades):
    equation, k, field, exact = problem
    precon = MultigridPreconditioner("amg")
    solver = StrictCG(precon, tolerance=1e-10)
    equation.solve(var=field(), solver=solver)
    kept = precon._cycle
    equation.solve(var=field(), solver=solver)
    assert precon._cycle is kept
    k.setValue(10.0 ** np.random.default_rng(2).uniform(0, decades, k.value.size))
    # slowly with the old one, or not at all and then with a new one
    u = field()
    equation.solve(var=u, solver=solver)
    assert np.abs(u.value - exact).max() > 1e-3
    again = field()
    equation.solve(var=again, solver=solver)
    assert precon._cycle is not kept
    assert solver.actualIterations < 60
    np.testing.assert_allclose(again.value, u.value, atol=1e-6)
