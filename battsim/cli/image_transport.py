"""Transport through an image that has no case: the options as numbers, the voxels as phases, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from battsim.cli.guard import UsageError
from battsim.cli.images import checked_header, listed
from battsim.cli.options import ImageOptions
from battsim.models.diffusion import Length
from battsim.post.transport.carrying import Boundary
from battsim.post.transport.grid import Sides, refuse_too_large
from battsim.post.transport.summary import TransportRequest, transport_summary
from battsim.quantity import to_si
from meshing.errors import LabelError
from meshing.image import AXES, Axis, VoxelImage
from meshing.read import read_voxels

Value = int | float
"""A value of an image, as exact as it was written."""
Report = Callable[[float, str], None]
T = TypeVar("T", bound=str)
OTHER = "other"
BOTH_FIELDS = ("potential", "flux")
LABELLING_BYTES = 2
"""Memory per voxel that turning values into phases takes, beside the values."""


def image_tortuosity(file: Path, options: ImageOptions, report: Report) -> dict[str, Any]:
    """Summary of the transport through the voxels of an image that conduct.

    Raises
    ------
    UsageError
        Where an option is missing or cannot be read.
    LabelError
        Where a value does not occur in the image, or the image holds NaN.
    ResourceError
        Where memory does not suffice, as far as the header tells before the image is read.
    CaseError, NotConvergedError
        As `transport_summary`.
    """
    edges, axes = _edges(options.voxel_size), _axes(options.axis)
    phases = _phases(options)
    if options.fields is not None and options.fields.exists() and not options.fields.is_dir():
        raise UsageError(f"--fields {options.fields} is a file; name a directory")
    header = checked_header(file, LABELLING_BYTES)
    refuse_too_large(header.shape, 0, alike=True)  # the least that it can take, whatever conducts
    report(0.0, "image")
    image = _labelled(file, phases, edges, "--conductivity" if options.phase is None else "--phase")
    conducting = [phase for phase in phases if phase.conductivity > 0]
    request = TransportRequest(
        conductivity={phase.name: phase.conductivity for phase in conducting},
        porosity={phase.name: phase.porosity for phase in conducting},
        axes=axes,
        sides=_choice("--sides", options.sides, get_args(Sides)),
        length=_choice("--length", options.length, get_args(Length)),
        tolerance=options.tolerance,
        threads=options.threads,
        tensor=None if options.tensor is None else _choice("--tensor", options.tensor, get_args(Boundary)),
        electrode=options.electrode,
        representative=options.error_bars,
        discretisation=options.error_bars,
    )
    if options.fields is None:
        return transport_summary(image, request, report=report)
    from battsim.run.transport_files import TransportFiles

    files = TransportFiles(options.fields, options.fields, BOTH_FIELDS, image, request)
    summary = transport_summary(image, request, report=report, keep=files.save)
    files.finish(report, file.name)
    return summary


@dataclass(frozen=True, slots=True)
class _Phase:
    """Values of an image that conduct alike."""

    values: tuple[Value, ...]
    conductivity: float
    porosity: float

    @property
    def name(self) -> str:
        return ",".join(map(str, self.values))


def _phases(options: ImageOptions) -> list[_Phase]:
    """Phases of the options, in which values of equal conductivity and porosity are one; none where no option does."""
    if options.phase is not None and options.conductivity is not None:
        raise UsageError(
            "--phase and --conductivity both say what conducts; --phase 0,2 stands for --conductivity 0=1,2=1: keep one"
        )
    k = (
        dict.fromkeys(_values(options.phase), 1.0)
        if options.phase is not None
        else _pairs("--conductivity", options.conductivity or "")
    )
    porosity = _pairs("--porosity", options.porosity or "")
    _check(options, k, porosity)
    groups: dict[tuple[float, float], list[Value]] = {}
    for value, conductivity in k.items():
        groups.setdefault((conductivity, porosity.get(value, 1.0)), []).append(value)
    return [_Phase(tuple(values), *numbers) for numbers, values in groups.items()]


def _check(options: ImageOptions, conductivity: Mapping[Value, float], porosity: Mapping[Value, float]) -> None:
    """Refuse numbers that no material has, and porosities of what does not conduct."""
    for value, number in conductivity.items():
        if not (isfinite(number) and number >= 0):
            raise UsageError(f"--conductivity {value}={number}: allowed are finite numbers of 0 or more")
    if conductivity and not any(conductivity.values()):
        raise UsageError(
            f"--conductivity {options.conductivity}: nothing conducts; give at least one value a number above 0"
        )
    for value, number in porosity.items():
        if not 0 < number <= 1:
            raise UsageError(f"--porosity {value}={number}: allowed are numbers above 0 and up to 1")
        if not conductivity.get(value):
            raise UsageError(
                f"--porosity {value}={number}, but {value} does not conduct; name it in --phase or --conductivity too"
            )


def _labelled(file: Path, phases: list[_Phase], edges: tuple[float, float, float], option: str) -> VoxelImage:
    """The image with the phases and, before them, all other voxels as one; `option` is what named the values."""
    voxels = read_voxels(file)
    if not phases:
        raise UsageError(f"--phase is required with an image; {file} has {listed(voxels)}, so for instance --phase 0")
    _refuse_nan(file, voxels)
    labels = np.zeros(voxels.shape, np.uint8)
    for index, phase in enumerate(phases, start=1):
        for value in phase.values:
            here = _matching(voxels, value)
            if not here.any():
                raise LabelError(f"{file}: {option} {value} does not occur in the image, which has {listed(voxels)}")
            labels[here] = index
    return VoxelImage(labels, edges, (OTHER, *(phase.name for phase in phases)))


def _matching(voxels: NDArray[Any], value: Value) -> NDArray[np.bool_]:
    """Voxels of exactly this value, or of the nearest that floats of their precision have for a fraction."""
    if isinstance(value, int):
        low, high = _range(voxels.dtype)
        if not low <= value <= high or int(voxels.dtype.type(value)) != value:
            return np.zeros(voxels.shape, bool)
    with np.errstate(over="ignore"):
        return np.asarray(voxels == value)


def _range(dtype: np.dtype[Any]) -> tuple[Value, Value]:
    """Least and largest value of a type."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def _refuse_nan(file: Path, voxels: NDArray[Any]) -> None:
    broken = np.count_nonzero(~np.isfinite(voxels)) if voxels.dtype.kind == "f" else 0
    if broken:
        raise LabelError(
            f"{file}: {broken} of {voxels.size} voxels are NaN or infinite, and belong to no phase; give them a value "
            "of their own first"
        )


def _axes(axis: str) -> tuple[Axis, ...]:
    if axis == "all":
        return AXES
    return (_choice("--axis", axis, AXES, "all"),)


def _choice(option: str, text: str, allowed: tuple[T, ...], *further: str) -> T:
    """The text where it is allowed."""
    for name in allowed:
        if name == text:
            return name
    names: list[str] = [*allowed, *further]
    raise UsageError(f"{option} {text} is not known; use {', '.join(names[:-1])} or {names[-1]}")


def _edges(voxel_size: str) -> tuple[float, float, float]:
    """One edge or three, m."""
    edges = [to_si(part.strip(), "m", "--voxel-size") for part in voxel_size.split(",")]
    if len(edges) not in (1, 3) or min(edges) <= 0:
        raise UsageError(f'--voxel-size {voxel_size} needs one positive length or three, such as "0.4 um,0.4 um,1 um"')
    x, y, z = edges if len(edges) == 3 else edges * 3
    return x, y, z


def _values(phase: str) -> list[Value]:
    """Values with commas between them."""
    return [_value(f"--phase {phase}", part, "--phase 0,2") for part in phase.split(",")]


def _pairs(option: str, text: str) -> dict[Value, float]:
    """Numbers by value, of VALUE=NUMBER,VALUE=NUMBER."""
    pairs: dict[Value, float] = {}
    for part in text.split(",") if text else ():
        value, _, number = part.partition("=")
        example = f"{option} 0=1,2=0.5"
        key = _value(f"{option} {text}", value, example)
        if key in pairs:
            raise UsageError(f"{option} {text} names {key} twice; name each value once")
        try:
            pairs[key] = float(number)
        except ValueError:
            raise UsageError(f"{option} {text} needs VALUE=NUMBER with commas, such as {example}") from None
    return pairs


def _value(given: str, text: str, example: str) -> Value:
    """A value of the image; whole numbers as such, since large ones are not exact otherwise."""
    with suppress(ValueError):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise UsageError(f"{given} needs values of the image with commas, such as {example}")
    return int(number) if number.is_integer() else number
