"""The files that a case names: which they are, that they lie inside the case, and that they exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from battsim.case.active import chosen_materials
from battsim.case.bpx import bpx_name
from battsim.case.full import CellCase, images_of
from battsim.case.materials import Curve, OwnActive, is_bpx
from battsim.case.messages import shown
from battsim.case.schema import Case
from battsim.errors import InputError


def files_of(case: Case) -> dict[str, str]:
    """Every file that the case names, by the dotted path of its key."""
    images = {f"{key}.file": image.file for key, image in images_of(case).items() if image.file is not None}
    return images | dict(_curves(case)) | dict(_bpx_files(case))


def _curves(case: Case) -> Iterator[tuple[str, str]]:
    """Tables of the materials of the user's own."""
    for key, chosen in chosen_materials(case).items():
        for name in ("ocp", "entropic") if isinstance(chosen, OwnActive) else ():
            curve = getattr(chosen, name)
            if isinstance(curve, Curve) and curve.file is not None:
                yield f"{key}.{name}.file", curve.file


def _bpx_files(case: Case) -> Iterator[tuple[str, str]]:
    """BPX files that materials and separator come from."""
    for key, chosen in chosen_materials(case).items():
        if (name := bpx_name(chosen)) is not None:
            yield f"{key}.base" if isinstance(chosen, OwnActive) else key, name
    if isinstance(case, CellCase):
        if is_bpx(case.materials.electrolyte):
            yield "materials.electrolyte", case.materials.electrolyte
        if case.materials.separator.base is not None:
            yield "materials.separator.base", case.materials.separator.base


def place_of(directory: Path, key: str, name: str) -> Path:
    """Absolute path of a file that a key names relative to the case directory; InputError where it has none."""
    try:
        return (directory / name).resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{key} = {shown(name)} cannot be followed: {error}; name a plain file") from None


def outside(directory: Path, key: str, name: str) -> str | None:
    """What to say of a file that is not inside the case directory, symbolic links followed; None of any other."""
    place = place_of(directory, key, name)
    if place.is_relative_to(directory):
        return None
    return (
        f"{key} = {shown(name)} is {place}, outside the case directory; copy it into the case, or allow it with "
        "--allow-outside"
    )


def require_file(directory: Path, file: str, key: str, name: str) -> Path:
    """Absolute path of a file that is there; InputError of any other. `file` is what messages call the case file."""
    place = place_of(directory, key, name)
    try:
        is_file, is_folder = place.is_file(), place.is_dir()
    except OSError as error:  # a name that is too long for the file system
        raise InputError(f"{file}: {key} = {shown(name)} cannot be looked up: {error.strerror}") from None
    slices = key.endswith("image.file") and is_folder
    if not (is_file or slices):
        what = "is a directory, not a file" if is_folder else "does not exist"
        raise InputError(
            f"{file}: {key} = {shown(name)}: {place} {what}; "
            "paths are relative to the case directory, so put the file there or correct the name"
        )
    return place
