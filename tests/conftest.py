"""Fixtures that every room may use."""

import os

# Read at import: without it each early call to an emulator waits a minute for gRPC.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

pytest_plugins = ["servers"]
