"""The cell on any network of faces: electrolyte, kinetics, electrons and solid diffusion, whatever the geometry."""
