"""The command ``xarray-dicom``: one module for each of its commands."""

from xarray_dicom.cli.main import main

__all__ = ["main"]
