"""Geometry: metres and labels in, finite-volume meshes out; never a volt, a mole or a second."""
