"""The resolved half cell: electrolyte, kinetics, electrons and solid diffusion on the voxels of an electrode."""
