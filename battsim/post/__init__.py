"""Numbers from a solution: effective transport, microstructure, cell curves, losses."""
