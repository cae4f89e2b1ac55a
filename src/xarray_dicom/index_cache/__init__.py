"""What opening learned of an instance, kept from one process to the next."""

from xarray_dicom.index_cache.cached_open import learn, open_remembered, recall
from xarray_dicom.index_cache.serialize import decode, encode

__all__ = ["decode", "encode", "learn", "open_remembered", "recall"]
