"""One organ of a segmentation of the NCI Imaging Data Commons, without an account.

python examples/public_segmentation.py --store gcs --label Liver
"""

from __future__ import annotations

import argparse
import time

import xarray as xr

KEY = "3f38511f-fd09-4e2f-89ba-bc0845fe0005/c8ea3be0-15d7-4a04-842d-00b183f53b56.dcm"

#: URL and options of each store, without credentials.
STORES = {
    "s3": (f"s3://idc-open-data/{KEY}", {"anon": True}),
    "gcs": (f"gs://idc-open-data/{KEY}", {"token": "anon"}),
}


def main() -> None:
    """Open the segmentation, list its segments, read one and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=STORES, default="s3")
    parser.add_argument("--label", default="Liver", help="label of the segment to read")
    options = parser.parse_args()

    url, storage_options = STORES[options.store]
    start = time.perf_counter()
    organs = xr.open_dataset(url, engine="dicom", chunks={}, storage_options=storage_options)
    print(organs)
    print(f"opened in {time.perf_counter() - start:.2f} s")
    print(organs.dicom.segments)

    start = time.perf_counter()
    mask = organs.segmentation.sel(segment_label=options.label).compute()
    print(f"read {dict(mask.sizes)} in {time.perf_counter() - start:.2f} s")
    voxel = 1.0
    for axis in ("z", "y", "x"):
        voxel *= float(mask[axis].diff(axis).median())
    print(f"{options.label}: {float(mask.sum()) * voxel / 1000:,.1f} ml")


if __name__ == "__main__":
    main()
