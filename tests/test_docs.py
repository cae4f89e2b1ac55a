"""Every Python block of the documentation runs, in order, against generated objects over S3."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from support.generate.attributes import Target, uid, write
from support.generate.multiframe import cine, enhanced_mr
from support.generate.segmentation import multi_organ_segmentation, slide_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.servers import KEY, SECRET, Server

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(
    r"^```(?P<head>python|\{ \.python \.no-run \})\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of Python: where it starts, and whether it is to be run."""

    line: int
    code: str
    run: bool


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, match.start("code")), match["code"], match["head"] == "python")
        for match in _FENCE.finditer(text)
    ]


RUN = [page for page in PAGES if any(block.run for block in blocks(page))]
NOT_RUN = [(page, block) for page in PAGES for block in blocks(page) if not block.run]


@pytest.fixture(scope="module")
def archive(s3_server: Server) -> Server:
    """The objects that the documentation speaks of."""

    def content(write_to: object) -> bytes:
        buffer = io.BytesIO()
        write_to(buffer)  # type: ignore[operator]
        return buffer.getvalue()

    def plane(dataset: object) -> bytes:
        return content(lambda target: write(dataset, target, ExplicitVRLittleEndian))

    ct = ct_series(None)
    for number, dataset in enumerate(ct):
        s3_server.put(f"ct/{number:03d}.dcm", plane(dataset))
    for number, dataset in enumerate(ct_series(None, name="other ct")):
        s3_server.put(f"other-ct/{number:03d}.dcm", plane(dataset))

    def tissue(target: Target) -> None:
        tiled = slide(io.BytesIO(), shape=(1200, 1500))
        slide_segmentation(target, tiled)

    def labelmap(target: Target) -> None:
        multi_organ_segmentation(target, ct[3:-3], segmentation_type="LABELMAP")

    for number, rows in enumerate((300, 1200, 600)):
        buffer = io.BytesIO()
        slide(buffer, name=f"level {rows}", shape=(rows, rows), spacing=0.0005 * 1200 / rows)
        level = dcmread(io.BytesIO(buffer.getvalue()))
        level.SeriesInstanceUID = uid("pyramid")
        s3_server.put(f"pyramid/{number}.dcm", content(level.save_as))

    writers = {
        "slide": lambda target: slide(target, shape=(1200, 1500)),
        "channels": lambda target: slide(target, shape=(600, 600), paths=3),
        "organs": lambda target: multi_organ_segmentation(target, ct[3:-3]),
        "labelmap": labelmap,
        "tissue": tissue,
        "mr": enhanced_mr,
        "cine": cine,
    }
    for name, writer in writers.items():
        s3_server.put(f"{name}.dcm", content(writer))
    return s3_server


@pytest.fixture
def reader(archive: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and an environment in which ``s3://images`` is the archive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", archive.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_blocks_of_a_page_run_in_order(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": f"docs.{page.stem}"}
    for block in blocks(page):
        if block.run:
            # Blank lines ahead make a traceback point at the line of the page.
            exec(compile("\n" * block.line + block.code, page, "exec"), namespace)


@pytest.mark.parametrize(
    ("page", "block"), NOT_RUN, ids=[f"{page.name}:{block.line}" for page, block in NOT_RUN]
)
def test_blocks_that_need_the_network_compile(page: Path, block: Block) -> None:
    compile(block.code, page, "exec")
    pytest.skip("needs the public network")


def test_no_block_escapes() -> None:
    fences = sum(
        len(re.findall(r"^``` *\{? *\.?python", page.read_text(), re.MULTILINE)) for page in PAGES
    )
    assert fences == sum(len(blocks(page)) for page in PAGES) > 30
