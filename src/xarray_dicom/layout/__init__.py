"""What frames mean: axes, coordinates, and where each frame belongs; no I/O, no xarray."""
