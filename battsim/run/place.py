"""Errors of a run say which case file they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from battsim.case import Case
from battsim.case.load import CASE_FILE
from battsim.errors import BattsimError
from meshing.errors import ImageError, MeshError


@contextmanager
def named_after(case: Case, key: str = "") -> Iterator[None]:
    """Puts the case file, and the key that is at work, in front of the message of an error that names no case file."""
    try:
        yield
    except (BattsimError, ImageError, MeshError) as error:
        if CASE_FILE in str(error):
            raise
        place = f"{case.directory / CASE_FILE}: {key}: " if key else f"{case.directory / CASE_FILE}: "
        raise type(error)(place + str(error)) from error
