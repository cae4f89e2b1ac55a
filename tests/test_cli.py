"""The command ``xarray-dicom``: what it prints, and how it fails."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pydicom
import pytest
import xarray as xr
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import write
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import NAMES, content, kind
from support.servers import Server
from xarray_dicom import __version__
from xarray_dicom.cli import main

PATIENT = "Doe^Jane"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints when nothing fails."""
    assert main(["info", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def fact(printed: str, name: str) -> str:
    """What is told under one name, the first time."""
    match = re.search(rf"^ +{name}  +(.+)$", printed, re.MULTILINE)
    assert match, f"nothing is told about {name}:\n{printed}"
    return match[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = kind(name).put()
    CountingFileSystem.forget()
    printed = shown(capsys, url)
    assert printed.startswith(f"{url}\n")
    assert fact(printed, "variable") == kind(name).variable
    dims = [size.split()[0] for size in fact(printed, "dimensions").split(" × ")]
    assert tuple(dims) == kind(name).dims
    # The account is the store's own, and no pixel was read.
    requests, fetched = re.findall(r"\d[\d,]*", fact(printed, "opened with"))
    assert int(requests) == len(CountingFileSystem.ranges)
    sizes = {file: len(blob) for file, blob in kind(name).objects.items()}
    sent = sum(
        min(end, sizes[path.rpartition("/")[2]]) - start
        for path, start, end in CountingFileSystem.ranges
    )
    assert int(fetched.replace(",", "")) == sent
    assert fact(printed, "size").startswith(f"{sum(sizes.values()):,} bytes")


def test_a_slide(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, kind("slide-eot").put())
    assert fact(printed, "kind") == "VL Whole Slide Microscopy Image Storage"
    assert fact(printed, "dimensions") == "y 150 × x 200 × c 3"
    assert fact(printed, "type") == "uint8"
    assert fact(printed, "spacing") == "y 0.0005 mm, x 0.0005 mm"
    assert fact(printed, "coordinates") == "slide"
    assert fact(printed, "transfer syntax") == "JPEG Baseline (Process 1)"
    assert fact(printed, "photometric") == "RGB"
    assert fact(printed, "frames") == "12 of 64 × 64"
    assert "segments" not in printed


def test_a_segmentation(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, kind("segmentation").put())
    assert re.search(r"segments +1 Liver\n +2 Spleen\n +3 Aorta\n", printed)
    assert "Label Map Segmentation Storage" in shown(capsys, kind("labelmap").put())


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("slide-eot", "extended"),
        ("slide-bot", "basic"),
        ("slide-no-table", "none: scanned at first read"),
        ("segmentation", "native"),
    ],
)
def test_offset_tables(name: str, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fact(shown(capsys, kind(name).put()), "offset table") == table


def test_a_single_compressed_frame(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    slide(tmp_path / "one.dcm", shape=(64, 64), tile=64, offset_table="none")
    printed = shown(capsys, str(tmp_path / "one.dcm"))
    assert fact(printed, "offset table") == "not needed: one frame"


def test_without_spacing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fact(shown(capsys, kind("cine").put()), "spacing") == "not known"


def _ct(tmp_path: Path, **attributes: object) -> Path:
    (plane,) = ct_series(None, planes=1, shape=(24, 32))
    for keyword, value in attributes.items():
        setattr(plane, keyword, value)
    path = tmp_path / "ct.dcm"
    with open(path, "wb") as file:
        write(plane, file, ExplicitVRLittleEndian)
    return path


def test_no_patient_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    named = ("PatientName", "PatientID", "AccessionNumber", "StudyDescription", "InstitutionName")
    path = _ct(tmp_path, **dict.fromkeys(named, PATIENT))
    # A number that is none: pydicom's warning quotes it.
    dataset = pydicom.dcmread(path)
    dataset.add_new("SeriesNumber", "LO", f"of {PATIENT}")
    tag = b"\x20\x00\x11\x00"
    path.write_bytes(content(dataset.save_as).replace(tag + b"LO", tag + b"IS"))
    with pytest.warns(UserWarning, match="Doe"):
        xr.open_dataset(path, engine="dicom")
    printed = shown(capsys, str(path))
    assert "Doe" not in printed
    assert fact(printed, "kind") == "CT Image Storage"


def test_warnings_are_printed_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = _ct(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    printed = shown(capsys, str(path))
    assert printed.count("warning: ") == 1
    assert "deflated as a whole" in printed.partition("warning: ")[2]
    assert fact(printed, "offset table") == "none: deflated as a whole"
    assert fact(printed, "size") == f"{path.stat().st_size:,} bytes"


def _two_orientations(folder: Path) -> None:
    for name, orientation in {"a": (1, 0, 0, 0, 1, 0), "b": (1, 0, 0, 0, 0, -1)}.items():
        for plane in ct_series(None, planes=2, shape=(24, 32)):
            plane.ImageOrientationPatient = list(orientation)
            plane.SOPInstanceUID += f".{ord(name)}"
            with open(folder / f"{name}{plane.InstanceNumber}.dcm", "wb") as file:
                write(plane, file, ExplicitVRLittleEndian)


def test_groups(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _two_orientations(tmp_path)
    for obj in (f"{tmp_path}/", str(tmp_path), f"{tmp_path}/*.dcm"):
        printed = shown(capsys, obj)
        assert re.findall(r"^  group (.+)$", printed, re.MULTILINE) == ["/stack_1", "/stack_2"]
        assert fact(printed, "size").endswith("in 4 objects")
    printed = shown(capsys, "--group", "stack_2", str(tmp_path))
    assert re.findall(r"^  group (.+)$", printed, re.MULTILINE) == ["/stack_2"]
    assert main(["info", "--group", "stack_3", str(tmp_path)]) == 1
    assert "no group 'stack_3'" in capsys.readouterr().err


def test_several_urls_of_which_one_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, missing = _ct(tmp_path), tmp_path / "missing.dcm"
    assert main(["info", str(path), str(missing), str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("CT Image Storage") == 2
    assert printed.err.startswith(f"error: {missing}: ")
    assert printed.err.count("\n") == 1


def test_what_is_no_dicom(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "page.dcm"
    path.write_text("<html>\nplease log in\n</html>" * 20)
    assert main(["info", str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"error: {re.escape(str(path))}: is not DICOM: [^\n]+\n", printed.err)


def test_labels_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(io.BytesIO(kind("segmentation").objects["object.dcm"]))
    dataset.SegmentSequence[0].SegmentLabel = "Li\x07ver"
    dataset.save_as(tmp_path / "seg.dcm")
    printed = shown(capsys, str(tmp_path / "seg.dcm"))
    assert "\x07" not in printed
    assert "1 Li\ufffdver" in printed


def test_s3_with_options(capsys: pytest.CaptureFixture[str], s3_server: Server) -> None:
    blob = kind("slide-eot").objects["object.dcm"]
    url = s3_server.put("cli/slide.dcm", blob)
    options = [f"--storage-option={k}={v}" for k, v in s3_server.storage_options.items()]
    printed = shown(capsys, *options, url)
    assert fact(printed, "opened with") == f"1 request, {len(blob):,} bytes"
    # A prefix without a slash at its end.
    printed = shown(capsys, *options, url.rpartition("/")[0])
    assert fact(printed, "variable") == "image"
    # Values are JSON where they are JSON.
    nested = f'client_kwargs={{"endpoint_url": "{s3_server.endpoint_url}"}}'
    keys = [option for option in options if "endpoint_url" not in option]
    assert "JPEG" in shown(capsys, *keys, "--storage-option", nested, url)


def test_anonymous_requests_are_not_signed(
    capsys: pytest.CaptureFixture[str], s3_server: Server
) -> None:
    url = s3_server.put("cli/secret.dcm", kind("slide-eot").objects["object.dcm"])
    endpoint = f"--storage-option=endpoint_url={s3_server.endpoint_url}"
    assert main(["info", "--anon", endpoint, url]) == 1
    # The server wants a signature, and there was none: not even a search for credentials.
    error = capsys.readouterr().err
    assert error.startswith(f"error: {url}: ")
    assert "no credentials found" not in error


def test_anonymous_links_of_a_chain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("slide.dcm", kind("slide-eot").objects["object.dcm"])
    url = f"zip://slide.dcm::file://{tmp_path}/archive.zip"
    assert "JPEG" in shown(capsys, "--anon", url)


def test_query_strings_are_never_shown(
    capsys: pytest.CaptureFixture[str], http_server: Server
) -> None:
    url = http_server.put("cli/slide.dcm", kind("slide-eot").objects["object.dcm"])
    printed = shown(capsys, f"{url}?signature=SECRET")
    assert printed.startswith(f"{url}\n")
    assert "SECRET" not in printed
    assert main(["info", f"{url}.not-there?signature=SECRET"]) == 1
    printed_error = capsys.readouterr().err
    assert "SECRET" not in printed_error
    assert url in printed_error


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["info"],
        ["open", "x.dcm"],
        ["info", "--storage-option", "anon", "x.dcm"],
        ["info", "--storage-option", "=true", "x.dcm"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: xarray-dicom" in capsys.readouterr().err


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


def test_as_a_program(tmp_path: Path) -> None:
    script = str(Path(sys.executable).parent / "xarray-dicom")
    ran = _run(script, "info", str(_ct(tmp_path)), str(tmp_path / "missing"))
    assert ran.returncode == 1
    assert "CT Image Storage" in ran.stdout
    assert re.fullmatch(r"error: [^\n]+\n", ran.stderr)


def test_as_a_module() -> None:
    ran = _run(sys.executable, "-m", "xarray_dicom", "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"xarray-dicom {__version__}\n", "")
