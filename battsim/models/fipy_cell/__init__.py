"""The resolved half cell in FiPy's equation language: the second opinion, and the place to try other physics.

For meshes of up to some 1e5 cells: a step takes about ten times as long as with the Newton engine, and sweeps converge
in about 10 for steps of 10 s, in 20 for 100 s, and poorly past that (1 C). Another term is a line of FiPy, for example
a loss of salt at the rate k (1/s) in the electrolyte, stepped by backward Euler from a state u of the Newton engine:

    cell = FipyHalfCell(mesh, HalfCell(mesh, parameters))
    cell.salt_equation = cell.salt_equation + ImplicitSourceTerm(coeff=k * cell.porosity, var=cell.c_e)
    sweeps = Sweeps(cell, fipy_solvers(), current_scale)
    for dt in steps:
        swept = sweeps.step(1.0 / dt, u, u, reference, Control("current", current))
        u = swept.u

Fields of one's own are `CellVariable(mesh=cell.mesh)`: electronic cells first, then electrolyte cells.
"""
