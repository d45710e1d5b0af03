"""Pure numerics, no battery: linear solvers, Newton, time stepping, multigrid."""
