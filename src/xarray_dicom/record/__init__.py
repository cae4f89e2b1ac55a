"""What opening learned of an instance, kept from one process to the next."""

from xarray_dicom.record.form import decode, encode
from xarray_dicom.record.remembered import learn, open_remembered, recall

__all__ = ["decode", "encode", "learn", "open_remembered", "recall"]
