"""Errors and warnings of this package, with the place that they are about."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydicom.tag import BaseTag


class Place(NamedTuple):
    """Object, and frame of it, that errors and warnings are about."""

    location: str | None = None
    frame: int | None = None


NOWHERE = Place()

_place: ContextVar[Place] = ContextVar("xarray_dicom_place", default=NOWHERE)


class Located(Exception):  # noqa: N818 - warnings are located as well
    """Message about an object, a frame and an element, each where it is known.

    Parameters
    ----------
    message
        The problem, and what to do about it; without location and frame, which the text of
        the exception puts before it.
    location
        URL or path of the object, fit to be shown: no query string, no secret.
    frame
        Number of the frame in its object, counted from 1 as in DICOM.
    tag
        Keyword or number of the element concerned.

    Examples
    --------
    >>> error = DicomError("is empty", location="s3://bucket/ct.dcm", frame=3)
    >>> str(error)
    's3://bucket/ct.dcm: frame 3: is empty'
    """

    def __init__(
        self,
        message: str = "",
        *,
        location: str | None = None,
        frame: int | None = None,
        tag: str | int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.frame = frame
        self._tag = tag

    @property
    def tag(self) -> BaseTag | None:
        """Tag of the element concerned, equal to its number and its keyword."""
        if self._tag is None:
            return None
        from pydicom.tag import Tag

        return Tag(self._tag)

    def complete(self, location: str | None = None, frame: int | None = None) -> None:
        """Fill in where it is about, as far as that is not known yet."""
        self.location = location if self.location is None else self.location
        self.frame = frame if self.frame is None else self.frame

    def __str__(self) -> str:
        frame = None if self.frame is None else f"frame {self.frame}"
        text = ": ".join(part for part in (self.location, frame, self.message) if part)
        tag = self.tag
        if tag is None or str(tag) in text:
            return text
        from pydicom.datadict import dictionary_description, dictionary_has_tag

        name = f"{dictionary_description(tag)} " if dictionary_has_tag(tag) else ""
        return f"{text} [{name}{tag}]"


class DicomError(Located, ValueError):
    """Base of every error of this package.

    Its text names the object, and the frame and the element concerned; so do its attributes
    `location`, `frame` (counted from 1) and `tag`, None where there is none. It pickles.
    """


class NotDicomError(DicomError):
    """The object is not a DICOM data set."""


class CorruptDicomError(DicomError):
    """The object is DICOM, but bytes are missing, damaged or contradict each other."""


class UnsupportedDicomError(DicomError):
    """The object is valid, but uses a feature that this package does not read."""


class SourceChangedError(DicomError):
    """The object was replaced after it was opened."""


class DicomWarning(Located, UserWarning):
    """Something in the object was passed over, filled in, or is not as the standard says.

    It has the attributes of `DicomError`.
    """


class located:  # noqa: N801 - a context manager, called as a function
    """Complete errors and warnings inside the block with the place that they are about.

    What an error says itself of its place stays, and so does what an inner block said.

    Parameters
    ----------
    location
        URL or path of the object, fit to be shown.
    frame
        Number of the frame in its object, counted from 1.
    """

    __slots__ = ("_place", "_token")

    def __init__(self, location: str | None = None, frame: int | None = None) -> None:
        self._place = (location, frame)

    def __enter__(self) -> None:
        location, frame = self._place
        outer = _place.get()
        self._token = _place.set(Place(location or outer.location, frame or outer.frame))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _place.reset(self._token)
        if isinstance(error, DicomError):
            error.complete(*self._place)


def current_place() -> Place:
    """Return the place of the innermost `located` block."""
    return _place.get()
