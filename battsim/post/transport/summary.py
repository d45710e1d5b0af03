"""All that is asked of the transport through one image: along each axis, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from math import log
from typing import Any

from battsim.errors import CaseError, ImpossibleError
from battsim.models.diffusion import Length
from battsim.post.transport.carrying import Boundary
from battsim.post.transport.effective import Direction, Progress, Transport, effective_transport, solve_transport
from battsim.post.transport.grid import Sides
from meshing.connect import End
from meshing.image import AXES, Axis, VoxelImage

Report = Callable[[float, str], None]
Keep = Callable[[Axis, Transport], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TransportRequest:
    """What to find out about an image.

    Attributes
    ----------
    conductivity, porosity, sides, length, tolerance, threads
        As in `effective_transport`.
    axes
        Along which transport is asked for.
    tensor
        Boundary of the effective tensor to find beside it; None for no tensor.
    electrode, separator
        Whether to find the transport into a blocking electrode, and at which end of each axis ions enter it.
    representative, discretisation
        Whether to estimate what the size of the image, and that of its voxels, brings as error.
    """

    conductivity: Mapping[str, float]
    porosity: Mapping[str, float] = field(default_factory=dict)
    axes: tuple[Axis, ...] = AXES
    sides: Sides = "no-flux"
    length: Length = "outer"
    tolerance: float = 1e-4
    threads: int = 2
    tensor: Boundary | None = None
    electrode: bool = False
    separator: End = "low"
    representative: bool = False
    discretisation: bool = False

    @property
    def bulk(self) -> float:
        """Conductivity of the most conductive phase, which D_eff is relative to."""
        return max(self.conductivity.values())

    @property
    def settings(self) -> dict[str, Any]:
        """Keywords of `effective_transport` that are the same along each axis."""
        return {
            "porosity": self.porosity,
            "bulk": self.bulk,
            "length": self.length,
            "sides": self.sides,
            "tolerance": self.tolerance,
            "threads": self.threads,
        }


def transport_summary(
    image: VoxelImage, request: TransportRequest, *, report: Report, keep: Keep | None = None
) -> dict[str, Any]:
    """Summary of kind "tortuosity", ready for JSON.

    What has no answer is None, with a line in "warnings": an electrode without walls, a tensor between faces that let
    nothing in.

    Parameters
    ----------
    report
        Receives how far it is, 0 to 1, and with what it is busy.
    keep
        Receives each solution with its potential; what it returns joins the numbers of the axis.

    Raises
    ------
    CaseError
        Where no axis that is asked for has more than one voxel, or as `effective_transport`.
    NotConvergedError, ResourceError
        As `effective_transport`.
    """
    axes, warnings = _long_axes(image, request.axes)
    extras = {name: find for name, find in EXTRAS.items() if getattr(request, name)}
    steps = _Steps(report, len(axes) * (1 + len(extras)) + (request.tensor is not None))
    directions: dict[str, dict[str, Any]] = {}
    for axis in axes:
        steps.begin(f"transport along {axis}")
        direction, kept = _along(image, request, axis, steps.progress(request.tolerance), keep)
        directions[axis] = asdict(direction) | dict(kept)
        for name, find in extras.items():
            steps.begin(f"{name} along {axis}")
            if direction.percolates or name == "electrode":  # dead ends charge too
                directions[axis][name] = _or_none(
                    partial(find, image, request, axis, direction, steps.within), warnings
                )
            else:
                directions[axis][name] = None
    summary = {"kind": "tortuosity", "porosity": _porosity(image, request), "directions": directions}
    if request.tensor is not None:
        steps.begin("tensor")
        summary["tensor"] = _or_none(partial(_tensor, image, request), warnings)
    report(1.0, "done")
    return summary | {"warnings": warnings}


def percolates(summary: Mapping[str, Any]) -> bool:
    """Whether the conducting phases of a summary percolate along any of its axes."""
    return any(direction["percolates"] for direction in summary["directions"].values())


class _Steps:
    """Counts steps as if they were of equal length, and reports the share that is done."""

    def __init__(self, report: Report, count: int) -> None:
        self._report, self._count, self._begun, self._what = report, count, 0, ""

    def begin(self, what: str) -> None:
        self._what, self._begun = what, self._begun + 1
        self._report((self._begun - 1) / self._count, what)

    def within(self, share: float, what: str) -> None:
        """Report how far the step is that was begun last."""
        self._report((self._begun - 1 + share) / self._count, f"{self._what}: {what}")

    def progress(self, tolerance: float) -> Progress:
        """What a solver tells, as a share of the step: how far the logarithm of its error has come."""
        furthest = 0.0

        def tell(iterations: int, error: float) -> None:
            nonlocal furthest
            share = log(error) / log(tolerance) if 0.0 < error < 1.0 else float(error == 0.0)
            furthest = max(furthest, min(share, 1.0))
            self.within(furthest, f"step {iterations}")

        return tell


def _long_axes(image: VoxelImage, asked: tuple[Axis, ...]) -> tuple[list[Axis], list[str]]:
    """The axes of more than one voxel, and a warning for each of the others; CaseError where none is left."""
    short = [axis for axis in asked if image.shape[AXES.index(axis)] == 1]
    size = " x ".join(map(str, image.shape))
    if len(short) == len(asked):
        others = [axis for axis in AXES if image.shape[AXES.index(axis)] > 1]
        raise CaseError(
            f"transport along {' and '.join(short)}: the image of {size} voxels has one voxel there, so that no path "
            f"can be crooked; choose {' or '.join(others) or 'a larger image'}"
        )
    skipped = [f"transport along {axis} left out: the image of {size} voxels has one voxel there" for axis in short]
    return [axis for axis in asked if axis not in short], skipped


def _along(
    image: VoxelImage, request: TransportRequest, axis: Axis, progress: Progress, keep: Keep | None
) -> tuple[Direction, Mapping[str, Any]]:
    """Transport along one axis, and what `keep` makes of it; the potential is there only where it is kept."""
    settings = request.settings | {"axis": axis, "progress": progress}
    if keep is None:
        return effective_transport(image, request.conductivity, **settings), {}
    solution = solve_transport(image, request.conductivity, **settings)
    return solution.direction, keep(axis, solution)


def _porosity(image: VoxelImage, request: TransportRequest) -> float:
    """Share of the image that counts in eps of tau."""
    return sum(request.porosity.get(name, 1.0) * image.volume_fraction(name) for name in request.conductivity)


def _or_none(find: Callable[[], dict[str, Any]], warnings: list[str]) -> dict[str, Any] | None:
    """What is found; None, and why in the warnings, where there is no physical answer."""
    try:
        return find()
    except ImpossibleError as error:
        warnings.append(str(error))
        return None


# what goes with the directions; each is imported where it is asked for


def _reusing(whole: VoxelImage, direction: Direction) -> Callable[..., Direction]:
    """`effective_transport`, but for images as large as the whole one, which is solved already: parts are smaller."""

    def solve(image: VoxelImage, conductivity: Mapping[str, float], **settings: Any) -> Direction:
        return direction if image.shape == whole.shape else effective_transport(image, conductivity, **settings)

    return solve


def _discretisation(
    image: VoxelImage, request: TransportRequest, axis: Axis, direction: Direction, report: Report
) -> dict[str, Any]:
    """What the size of the voxels brings as error."""
    from battsim.post.transport.discretisation import discretisation_estimate

    solve, k = _reusing(image, direction), request.conductivity
    return asdict(discretisation_estimate(image, k, axis=axis, solve=solve, progress=report, **request.settings))


def _representative(
    image: VoxelImage, request: TransportRequest, axis: Axis, direction: Direction, report: Report
) -> dict[str, Any]:
    """What the size of the image brings as error."""
    from battsim.post.transport.representative import representativeness

    solve, k = _reusing(image, direction), request.conductivity
    return asdict(representativeness(image, k, axis=axis, solve=solve, progress=report, **request.settings))


def _electrode(
    image: VoxelImage, request: TransportRequest, axis: Axis, _direction: Direction, _report: Report
) -> dict[str, Any]:
    """Numbers of a blocking electrode whose separator is at the asked end of the axis."""
    from battsim.post.transport.blocking import blocking_electrode

    found = blocking_electrode(
        image,
        request.conductivity,
        axis=axis,
        separator=request.separator,
        porosity=request.porosity,
        bulk=request.bulk,
        tolerance=request.tolerance,
        threads=request.threads,
    )
    return {"separator": request.separator} | asdict(found)


def _tensor(image: VoxelImage, request: TransportRequest) -> dict[str, Any]:
    """The tensor over the bulk, with its principal values and directions (columns)."""
    from battsim.post.transport.tensor import effective_tensor

    assert request.tensor is not None
    found = effective_tensor(
        image,
        request.conductivity,
        boundary=request.tensor,
        bulk=request.bulk,
        tolerance=request.tolerance,
        threads=request.threads,
    )
    values, directions = found.principal
    numbers = asdict(found)
    return {"D_eff": numbers.pop("tensor"), "principal": values, "principal_directions": directions} | numbers


Find = Callable[[VoxelImage, TransportRequest, Axis, Direction, Report], dict[str, Any]]
EXTRAS: Mapping[str, Find] = {
    "discretisation": _discretisation,
    "representative": _representative,
    "electrode": _electrode,
}
"""Further numbers along an axis, by the field of the request that asks for them."""
