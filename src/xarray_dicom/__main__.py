"""Command line, as ``python -m xarray_dicom``."""

import sys

from xarray_dicom.cli import main

sys.exit(main())
