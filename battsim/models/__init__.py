"""Equation sets on a mesh: residual, Jacobian, initial state."""
