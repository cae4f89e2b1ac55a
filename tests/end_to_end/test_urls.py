"""Opening, from the URL on."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from support.generate.series import ct_series
from xarray_dicom.storage import URL


@pytest.mark.parametrize("times", [1, 2], ids=["the first time", "by the index cache"])
def test_opening_one_object_parses_its_url_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    ct_series(tmp_path, planes=1, shape=(8, 9))
    (path,) = map(str, tmp_path.iterdir())
    for _ in range(times - 1):
        xr.open_dataset(path, engine="dicom")
    parsed: list[str] = []
    parse = URL.parse

    def counted(text: str) -> URL:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(URL, "parse", counted)
    xr.open_dataset(path, engine="dicom").load()
    assert parsed == [path]
