"""What an electrode microstructure does to the cell, from a segmented image to a discharge curve."""
