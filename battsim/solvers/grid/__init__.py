"""Steady diffusion on a voxel grid, matrix-free: problem, finest level, aggregation multigrid, outer iteration."""
