"""A region of a slide and one organ of many, from an object store on this machine.

Starts ``rclone serve s3`` on loopback, puts a slide, a CT series and a segmentation of its
organs there, reads a region of the slide, the liver, and the liver on the grid of the CT,
and draws them to ``demo.png``. Run it with ``make demo``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from local_store import SPACING, fill, local_store, storage_options
from PIL import Image

from support.proxy import LatencyProxy

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap


@contextmanager
def step(title: str, proxy: LatencyProxy) -> Iterator[None]:
    """Print the time, requests and bytes of the block."""
    requests, received, start = proxy.requests, proxy.bytes_sent, time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    requests, received = proxy.requests - requests, proxy.bytes_sent - received
    print(f"--- {title}: {seconds:.2f} s, {requests} requests, {received / 1e6:,.2f} MB\n")


def draw(
    region: xr.DataArray, ct: xr.DataArray, labels: xr.DataArray, liver: xr.DataArray, path: Path
) -> None:
    """Draw the region, and a plane of the CT with the organs over it and the liver outlined.

    Parameters
    ----------
    region
        RGB of the slide, dimensions y, x, c.
    ct
        Hounsfield units, dimensions z, y, x.
    labels
        Label map of the organs, on the grid of `ct`.
    liver
        Mask, on the same grid.
    path
        The picture.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 4), layout="constrained", width_ratios=(1, 1.45)
    )
    region.plot.imshow(ax=left, rgb="c")
    left.set(title="a region of the slide", aspect="equal", xlabel="x [mm]", ylabel="y [mm]")
    left.invert_yaxis()

    plane = liver.sum(("y", "x")).argmax("z")
    organs = labels.isel(z=plane)
    organs = organs.where(organs > 0)
    ct.isel(z=plane).plot.imshow(ax=right, cmap="gray", vmin=-160, vmax=320, add_colorbar=False)
    colours = ListedColormap(mpl.colormaps["tab10"].colors[:8])
    organs.plot.imshow(ax=right, cmap=colours, vmin=0.5, vmax=8.5, alpha=0.45, add_colorbar=False)
    names = zip(labels.flag_values.tolist(), labels.flag_meanings.split(), strict=True)
    for number, name in names:
        organ = organs.where(organs == number, drop=True)
        if organ.size:
            centre = float(organ.x.mean()), float(organ.y.mean())
            text = name.replace("_", "\n")
            right.annotate(text, centre, color="white", fontsize=7, ha="center", va="center")
    liver.isel(z=plane).plot.contour(ax=right, levels=[0.5], colors="yellow", linewidths=1.2)
    z = float(ct.z[plane])
    right.set(title=f"CT at z = {z:.2f} mm, organs, liver outlined", aspect="equal")
    right.set(xlabel="x [mm]", ylabel="y [mm]")
    right.invert_yaxis()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Run the demo; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192, help="rows and columns of the slide")
    parser.add_argument("--planes", type=int, default=48, help="planes of the CT")
    parser.add_argument("--output", type=Path, default=Path("demo.png"), help="the picture")
    parser.add_argument("--thumbnail", type=Path, help="a small copy of it, in 256 colours")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = time.perf_counter()
        fill(folder / "demo", size=options.size, planes=options.planes)
        print(f"--- wrote slide, CT and segmentation: {time.perf_counter() - start:.1f} s\n")
        with local_store(folder) as proxy:
            store = {
                "engine": "dicom",
                "chunks": {},
                "storage_options": storage_options(proxy),
                "index_cache": folder / "index-cache",
            }
            with step("open the slide", proxy):
                slide = xr.open_dataset("s3://demo/slide.dcm", **store)
            print(slide, "\n")
            with step("open the slide again, by its cached index", proxy):
                slide = xr.open_dataset("s3://demo/slide.dcm", **store)
            middle = {axis: float(slide[axis].mean()) for axis in ("y", "x")}
            with step("read a region of 0.4 mm x 0.4 mm by its place in mm", proxy):
                region = slide.image.sel(
                    y=slice(middle["y"] - 0.2, middle["y"] + 0.2),
                    x=slice(middle["x"] - 0.2, middle["x"] + 0.2),
                ).compute()
            print(region.sizes, "\n")

            with step("open the segmentation", proxy):
                organs = xr.open_dataset("s3://demo/organs.dcm", **store)
            print(organs, "\n")
            with step("read the liver", proxy):
                liver = organs.segmentation.sel(segment_label="Liver").compute()
            volume = float(liver.sum()) * np.prod(SPACING) / 1000
            print(f"liver: {volume:,.0f} ml\n")

            with step("open the CT, one file a plane", proxy):
                ct = xr.open_dataset("s3://demo/ct/", **store)
            print(ct, "\n")
            with step("read the liver on the grid of the CT, and the CT", proxy):
                on_ct = organs.dicom.on_grid_of(ct)
                liver = on_ct.segmentation.sel(segment_label="Liver").compute()
                image = ct.image.compute()
            print(f"mean of the CT in the liver: {float(image.where(liver == 1).mean()):.1f} HU\n")
            with step("read all organs as a label map", proxy):
                labels = organs.dicom.labelmap(overlap="first")
                labels = labels.dicom.on_grid_of(ct).compute()
        draw(region, image, labels, liver, options.output)
        print(f"drew {options.output}")
        if options.thumbnail:
            picture = Image.open(options.output).convert("RGB")
            picture.quantize(256).save(options.thumbnail, optimize=True)


if __name__ == "__main__":
    main()
