"""Tissue and mean colour of a slide, block by block on a Dask cluster.

    python examples/cluster.py                        # a generated slide, on this machine
    python examples/cluster.py s3://bucket/slide.dcm  # one of yours

Every task opens nothing: the frame table travels to each worker once, and a task reads the
frames of its block with a few merged requests.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client, LocalCluster
from local_store import fill, local_store, storage_options


def summarise(block: xr.DataArray) -> xr.DataArray:
    """Return the share of tissue in a block, and the mean red, green and blue of the tissue.

    Parameters
    ----------
    block
        RGB, dimensions y, x, c.

    Returns
    -------
    xr.DataArray
        Dimensions y and x of length 1, and ``measure``.
    """
    pixels = block.transpose("y", "x", "c").values
    # Tissue takes up light, glass does not; stain is coloured, shadow is not.
    tissue = (pixels.min(axis=-1) < 220) & (np.ptp(pixels, axis=-1) > 12)
    colour = pixels[tissue].mean(axis=0) if tissue.any() else np.full(3, np.nan)
    return xr.DataArray(
        np.array([tissue.mean(), *colour])[None, None],
        dims=("y", "x", "measure"),
        coords={
            "y": block.y.values[:1],
            "x": block.x.values[:1],
            "measure": ["tissue", "red", "green", "blue"],
        },
    )


def analyse(slide: xr.Dataset) -> xr.DataArray:
    """Summarise every block of a slide that was opened with chunks, in parallel."""
    image = slide.image.drop_vars("frame_of_reference").chunk(c=3)
    rows, columns = (image.chunksizes[axis] for axis in ("y", "x"))
    starts = [np.cumsum((0, *sizes[:-1])) for sizes in (rows, columns)]
    template = xr.DataArray(
        np.empty((len(rows), len(columns), 4)),
        dims=("y", "x", "measure"),
        coords={
            "y": image.y.values[starts[0]],
            "x": image.x.values[starts[1]],
            "measure": ["tissue", "red", "green", "blue"],
        },
    ).chunk(y=1, x=1)
    return image.map_blocks(summarise, template=template).compute()


def report(url: str, workers: int, **options: Any) -> None:
    """Analyse the slide at `url` on a cluster of processes, and print the result."""
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        slide = xr.open_dataset(url, engine="dicom", chunks={}, **options)
        blocks = analyse(slide)
    print(blocks.sel(measure="tissue").round(2).to_pandas())
    tissue = blocks.sel(measure="tissue")
    colour = blocks.sel(measure=["red", "green", "blue"]).weighted(tissue).mean(("y", "x"))
    print(f"tissue: {float(tissue.mean()):.1%}, mean colour {colour.round(1).values}")


def main() -> None:
    """Analyse the slide of the command line, or a generated one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", help="a slide; by default one is generated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=8192, help="of the generated slide, in pixels")
    parser.add_argument("--anonymous", action="store_true", help="read S3 without credentials")
    options = parser.parse_args()
    if options.url is not None:
        access = {"storage_options": {"anon": True}} if options.anonymous else {}
        report(options.url, options.workers, **access)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fill(folder / "demo", size=options.size, planes=16)
        with local_store(folder) as proxy:
            access = {"storage_options": storage_options(proxy)}
            report("s3://demo/slide.dcm", options.workers, **access)


if __name__ == "__main__":
    main()
