"""Files that independent writers make here: highdicom, wsidicom, DCMTK, pydicom."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from wsidicom import WsiDicom
from wsidicom.codec.settings import (
    HTJpeg2000Settings,
    Jpeg2kSettings,
    JpegLsSettings,
    JpegSettings,
    RleSettings,
)
from wsidicom.options import ConcatenationByFrames, InstanceSplit

from support.generate.attributes import write
from support.generate.multiframe import cine, enhanced_mr, legacy_enhanced_ct
from support.generate.segmentation import multi_organ_segmentation, slide_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide

#: Offset tables that wsidicom writes.
OFFSET_TABLES = ("empty", "BOT", "EOT")

#: What wsidicom codes the frames of a slide again as.
TRANSCODINGS = {
    "JPEG": JpegSettings(),
    "JPEG 2000": Jpeg2kSettings(),
    "JPEG 2000 lossless": Jpeg2kSettings(levels=0),
    "HTJ2K": HTJpeg2000Settings(),
    "JPEG-LS": JpegLsSettings(),
    "RLE": RleSettings(),
}

#: Name → the program of DCMTK and its options, for a monochrome and for a colour image.
DCMTK = {
    "implicit VR": ("dcmconv", "+ti"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "undefined lengths": ("dcmconv", "-e"),
    "RLE": ("dcmcrle",),
    "RLE, fragments of 1 kB": ("dcmcrle", "+fs", "1"),
    "JPEG-LS": ("dcmcjpls",),
    "JPEG-LS, near lossless": ("dcmcjpls", "+en"),
    "JPEG-LS, fragments, no table": ("dcmcjpls", "+fs", "1", "-ot"),
    "JPEG lossless": ("dcmcjpeg", "+el"),
    "JPEG lossless SV1": ("dcmcjpeg", "+e1"),
    "JPEG lossless SV1, fragments": ("dcmcjpeg", "+e1", "+fs", "1"),
    "JPEG lossless SV1, fragments, no table": ("dcmcjpeg", "+e1", "+fs", "1", "-ot"),
    "JPEG baseline": ("dcmcjpeg", "+eb"),
    "JPEG baseline, RGB": ("dcmcjpeg", "+eb", "+cr"),
    "JPEG baseline, 4:4:4": ("dcmcjpeg", "+eb", "+s4"),
    "JPEG extended": ("dcmcjpeg", "+ee"),
    "JPEG spectral selection": ("dcmcjpeg", "+es"),
    "JPEG progressive": ("dcmcjpeg", "+ep"),
}


@dataclass(frozen=True)
class Written:
    """What a writer made.

    Attributes
    ----------
    writer
        The library or program.
    name
        What is particular to it.
    path
        A file, or the folder of the files of one image.
    """

    writer: str
    name: str
    path: Path


def write_all(folder: Path) -> tuple[list[Written], list[str]]:
    """Write everything below `folder`; gives what was written, and what was left out and why."""
    written: list[Written] = []
    left_out: list[str] = []
    for writer in (_by_highdicom, _by_pydicom, _by_wsidicom, _by_dcmtk):
        own = folder / writer.__name__.removeprefix("_by_")
        own.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, path, reason in writer(own):
                if reason is None:
                    written.append(Written(own.name, name, path))
                else:
                    left_out.append(f"{own.name}, {name}: {reason}")
    return written, left_out


Made = Iterator[tuple[str, Path, str | None]]


def _try(name: str, path: Path, make: Callable[[Path], object]) -> Made:
    try:
        make(path)
    except Exception as error:
        yield name, path, f"{type(error).__name__}: {error}"
    else:
        yield name, path, None


def _images() -> list[Dataset]:
    images = ct_series(None, planes=6, shape=(40, 56), spacing=(20.0, 9.0, 9.0), shuffle=False)
    for image in images:
        write(image, Path("/dev/null"), ExplicitVRLittleEndian)
    return images


def _by_highdicom(folder: Path) -> Made:
    images = _images()
    volumes = {
        "BINARY": (ExplicitVRLittleEndian,),
        "FRACTIONAL": (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless),
        "LABELMAP": (
            ExplicitVRLittleEndian,
            DeflatedExplicitVRLittleEndian,
            RLELossless,
            JPEG2000Lossless,
            JPEGLSLossless,
        ),
    }
    for kind, syntaxes in volumes.items():
        for number, syntax in enumerate(syntaxes):
            name = f"{kind} segmentation, {syntax.name.split(' Image')[0]}"
            yield from _try(
                name,
                folder / f"{kind}-{number}.dcm",
                partial(
                    multi_organ_segmentation,
                    images=images,
                    organs=("Liver", "Spleen", "Aorta"),
                    segmentation_type=kind,
                    transfer_syntax=syntax,
                ),
            )
    below = folder / "slide.dcm"
    slide(below, shape=(300, 420), tile=64, codec="native")
    yield "slide, uncompressed", below, None
    header = dcmread(below)
    for kind in volumes:
        for organization in ("TILED_FULL", "TILED_SPARSE"):
            yield from _try(
                f"{kind} segmentation of a slide, {organization}, tiles of 37 × 53",
                folder / f"slide-{kind}-{organization}.dcm",
                partial(
                    slide_segmentation,
                    slide=header,
                    segmentation_type=kind,
                    tile=(37, 53),
                    organization=organization,
                ),
            )
    yield from _try(
        "legacy converted enhanced CT",
        folder / "enhanced-ct.dcm",
        lambda path: legacy_enhanced_ct(path, _images()),
    )


def _by_pydicom(folder: Path) -> Made:
    for table in ("eot", "bot", "none"):
        for codec in ("jpeg-rgb", "jpeg-ybr422", "j2k", "j2k-lossless"):
            # Slide readers take all files of one folder for one slide.
            path = folder / f"slide-{codec}-{table}" / "1.dcm"
            path.parent.mkdir()
            slide(path, shape=(300, 420), tile=128, codec=codec, offset_table=table)
            yield f"slide, {codec}, offset table: {table}", path, None
    path = folder / "channels" / "1.dcm"
    path.parent.mkdir()
    slide(path, shape=(300, 420), tile=128, paths=3)
    yield "slide, three fluorescence channels", path, None
    path = folder / "focal-planes" / "1.dcm"
    path.parent.mkdir()
    slide(path, shape=(300, 420), tile=128, focal_planes=4)
    yield "slide, four focal planes", path, None
    path = folder / "enhanced-mr.dcm"
    enhanced_mr(path)
    yield "enhanced MR, times and echoes", path, None
    path = folder / "enhanced-mr-gaps.dcm"
    enhanced_mr(path, missing=(1, 7))
    yield "enhanced MR, frames missing", path, None
    for compressed in (True, False):
        path = folder / f"cine-{compressed}.dcm"
        cine(path, compressed=compressed)
        yield f"cine, {'JPEG' if compressed else 'uncompressed'}", path, None


def _by_wsidicom(folder: Path) -> Made:
    levels = folder / "source"
    levels.mkdir()
    slide(levels / "1.dcm", shape=(700, 900), tile=256, codec="jpeg-ybr422")
    for table in OFFSET_TABLES:
        yield from _saved(folder, f"slide, offset table: {table}", levels, offset_table=table)
    for name, settings in TRANSCODINGS.items():
        yield from _saved(
            folder, f"slide, {name}", levels, transcoding=settings, force_transcoding=True
        )
    yield from _saved(
        folder, "slide, concatenation", levels, concatenation=ConcatenationByFrames(5)
    )
    for name, options in {
        "channels": {"paths": 3},
        "focal planes": {"focal_planes": 3, "codec": "jpeg-ybr422"},
    }.items():
        source = folder / f"source-{name}"
        source.mkdir()
        slide(source / "1.dcm", shape=(300, 420), tile=128, **options)  # type: ignore[arg-type]
        yield from _saved(folder, f"slide, {name}", source)
        split = InstanceSplit.OPTICAL_PATH if name == "channels" else InstanceSplit.FOCAL_PLANE
        yield from _saved(folder, f"slide, a file for each of its {name}", source, split)


def _saved(
    folder: Path, name: str, source: Path, split: InstanceSplit | None = None, **options: object
) -> Made:
    target = folder / name.replace(" ", "-").replace(",", "").replace(":", "")

    def save(path: Path) -> None:
        path.mkdir()
        splitting = {} if split is None else {"instance_split": split}
        with WsiDicom.open(source) as opened:
            opened.save(path, workers=1, **splitting, **options)

    for _, path, reason in _try(name, target, save):
        files = sorted(path.iterdir()) if reason is None else []
        yield name, files[0] if len(files) == 1 else path, reason


def _by_dcmtk(folder: Path) -> Made:
    sources = {"CT": folder / "ct.dcm", "colour": folder / "colour.dcm"}
    write(_images()[2], sources["CT"], ExplicitVRLittleEndian)
    cine(sources["colour"], frames=4, compressed=False)
    for name, (program, *options) in DCMTK.items():
        for kind, source in sources.items():
            title = f"{kind}, {name}"
            target = folder / f"{title.replace(' ', '-').replace(',', '').replace(':', '')}.dcm"
            if shutil.which(program) is None:
                yield title, target, f"{program} is not installed (Debian's package dcmtk)"
                continue
            command = [program, *options, str(source), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            failed = done.returncode or not target.exists()
            yield title, target, (done.stderr.strip().splitlines() or [""])[-1] if failed else None
