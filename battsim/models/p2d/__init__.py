"""The homogenised cell: the porous-electrode model of Doyle, Fuller and Newman as one more network of the same cell."""
