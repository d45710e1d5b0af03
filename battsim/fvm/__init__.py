"""Finite-volume operators on a mesh: jump, mean, divergence, face conductances, matrix patterns."""
