"""Meaning of frames: axes, coordinates and the place of each frame; no I/O, no xarray."""
