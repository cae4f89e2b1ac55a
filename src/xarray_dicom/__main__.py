"""``python -m xarray_dicom``: the command line."""

import sys

from xarray_dicom.cli import main

sys.exit(main())
