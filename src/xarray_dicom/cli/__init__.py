"""Command ``xarray-dicom``: a module for each of its subcommands."""

from xarray_dicom.cli.main import main

__all__ = ["main"]
