"""Print the oldest versions that pyproject.toml allows, as a requirements file.

``make test-lowest`` installs exactly these, so that every lower bound is a version that works.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

#: Extras that users install; those of developers are taken as new as they come.
EXTRAS = ("dask", "s3", "gcs", "http")

_BOUND = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,.-]+\])?>=(?P<version>[\w.]+)$")


def main() -> None:
    """Print one pin a line."""
    content = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
    project = tomllib.loads(content)["project"]
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(r for extra in EXTRAS for r in optional[extra])]
    for requirement in requirements:
        bound = _BOUND.fullmatch(requirement)
        if bound is None:
            raise SystemExit(f"{requirement!r} has no lower bound that can be tested")
        print(f"{bound['name']}{bound['extras'] or ''}=={bound['version']}")


if __name__ == "__main__":
    main()
