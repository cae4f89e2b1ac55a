"""Bytes of objects, wherever they lie; nothing in this room knows DICOM."""

from __future__ import annotations

from xarray_dicom.storage.file_source import BytesSource, FileObjectSource
from xarray_dicom.storage.read_merged import read_merged
from xarray_dicom.storage.recording import RecordingSource
from xarray_dicom.storage.request_sizing import RequestSizing
from xarray_dicom.storage.source import ByteSource, Fingerprint, Head
from xarray_dicom.storage.sources import expand, list_folder, open_source
from xarray_dicom.storage.url import URL, display
from xarray_dicom.storage.url_source import URLSource

__all__ = [
    "URL",
    "ByteSource",
    "BytesSource",
    "FileObjectSource",
    "Fingerprint",
    "Head",
    "RecordingSource",
    "RequestSizing",
    "URLSource",
    "display",
    "expand",
    "list_folder",
    "open_source",
    "read_merged",
]
