"""Index cache: what opening found out about an object, stored for later opens.

Opening an object reads its header, its offset table and the elements that each frame has.
An *entry* of the index cache holds the result for one version of one object, so that a later
open makes a single request, for the object's version.

=================  ====================================================================
module             contents
=================  ====================================================================
cached_open        open an object through the cache
cache              `IndexCache`, and the user's choice of one
local_folder       entries as files of a private folder, of bounded size
remote             entries below a URL, or as sidecars next to the objects
checksummed        the bytes that are stored: a payload with its checksum
serialize          the payload: an `xarray_dicom.instance.Instance` as JSON and sections
serialize_frames   the part of it from which frames are read
serialize_offsets  the byte ranges of frames
header_subset      the part of a header that may be stored: an allow-list without patients
sections           bytes and arrays, with readers that check every length and type
=================  ====================================================================

An entry that is damaged, made by another release, or of another version of the object is
ignored: the object is opened by its header, and the entry is written anew. No failure of a
cache fails an open.
"""

from xarray_dicom.index_cache.cache import (
    SIDECAR,
    CacheChoice,
    IndexCache,
    choose_cache,
    choose_cache_to_fill,
)
from xarray_dicom.index_cache.cached_open import open_and_store, open_from_cache, open_with_cache
from xarray_dicom.index_cache.checksummed import ENTRY_SUFFIX

__all__ = [
    "ENTRY_SUFFIX",
    "SIDECAR",
    "CacheChoice",
    "IndexCache",
    "choose_cache",
    "choose_cache_to_fill",
    "open_and_store",
    "open_from_cache",
    "open_with_cache",
]
