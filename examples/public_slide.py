"""A region of a slide of the NCI Imaging Data Commons, from S3 or GCS, without an account.

python examples/public_slide.py --store s3 --output region.png
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import xarray as xr

mpl.use("Agg")
from matplotlib import pyplot as plt

KEY = "763fe058-7d25-4ba7-9b29-fd3d6c41dc4b/210f0529-c767-4795-9acf-bad2f4877427.dcm"

#: URL and options of each store, without credentials.
STORES = {
    "s3": (f"s3://idc-open-data/{KEY}", {"anon": True}),
    "gcs": (f"gs://idc-open-data/{KEY}", {"token": "anon"}),
}


def main() -> None:
    """Open the slide, read a square from its middle, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=STORES, default="s3")
    parser.add_argument("--size", type=float, default=0.5, help="side of the region in mm")
    parser.add_argument("--output", type=Path, default=Path("region.png"))
    options = parser.parse_args()

    url, storage_options = STORES[options.store]
    start = time.perf_counter()
    slide = xr.open_dataset(url, engine="dicom", chunks={}, storage_options=storage_options)
    print(slide)
    print(f"opened in {time.perf_counter() - start:.2f} s")

    y, x = float(slide.y.mean()), float(slide.x.mean())
    half = options.size / 2
    start = time.perf_counter()
    region = slide.image.sel(y=slice(y - half, y + half), x=slice(x - half, x + half)).compute()
    print(f"read {dict(region.sizes)} in {time.perf_counter() - start:.2f} s")
    plt.imsave(options.output, region.transpose("y", "x", "c").values)


if __name__ == "__main__":
    main()
