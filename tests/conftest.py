"""Fixtures that every room may use."""

import os

# Read at import: without it each early call to an emulator waits a minute for gRPC.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# No test, and no process that one starts, may see or touch what this user has opened before.
os.environ["XARRAY_DICOM_INDEX_CACHE"] = "off"

pytest_plugins = ["support.servers"]
