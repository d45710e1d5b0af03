"""Error of the effective transport from the size of the voxels, estimated by thinning the image.

The image is solved again with voxels twice and four times as wide, and D_eff is followed back to voxels of no size:

    D_eff(h) = D_eff(0) + a h,    D_eff(0) ~ 2 D_eff(h) - D_eff(2 h),    error ~ abs(D_eff(h) - D_eff(2 h)).

The staircase of a curved surface makes the error first order in h, whatever the scheme inside the voxels. The order
observed, log2((D(2h) - D(4h)) / (D(h) - D(2h))) (P. J. Roache, J. Fluids Eng. 116 (1994) 405), decides whether the
three values may be trusted; it is not put into the extrapolation, since at 4 h most images are too coarse to show it.

A wider voxel takes the phase of one voxel that it covers, not that of their majority. A surface leaves many blocks of
2 x 2 x 2 without a majority; whoever gets those, the volume fractions shift, and D_eff with them: with majorities a
third of the sequences went up and down. Of the eight voxels around its centre four are taken in turn, no two of them
neighbours, and D_eff is the mean over the four images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from battsim.post.transport.effective import Direction, effective_transport
from meshing.image import AXES, Axis, VoxelImage, crop

Solve = Callable[..., Direction]
Progress = Callable[[float, str], None]
Shape = tuple[int, int, int]

FACTORS = (1, 2, 4)
CORNERS = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))
"""Of the eight voxels around a block's centre, those that stand for it: their mean place is the centre."""
FEWEST = 16
"""Voxels along an axis below which four of them are no image any more."""
ORDERS = (0.5, 2.5)
"""Observed orders that are taken for the first order of a staircase."""
SAFETY = 1.5
"""Chosen on 64 generated structures (blobs, overlapping and packed spheres, two and three phases). On 54 others, 48 to
128 voxels wide, 195 of 270 images passed the checks; the true error was below the estimate in 97 of 100, 0.75 of it in
the median and 1.3 of it at most."""
PERCOLATING_LEFT = 0.5
"""Share of the image's percolating fraction that must be left in the thinned ones."""
UNRESOLVED = 0.8
"""Mean square difference of neighbours, over that of independent voxels, above which a structure is noise."""


@dataclass(frozen=True, slots=True)
class DiscretisationEstimate:
    """D_eff at three voxel sizes and what they say about the first; numbers that failed a check are None.

    Attributes
    ----------
    shape
        Voxels that were used: the image, cropped at the high ends to multiples of four.
    D_eff, tau
        By voxel size over the image's: 1, 2, 4, or 1 alone where the image is too small; tau is None where nothing
        percolates.
    observed_order
        Order at which the differences fall.
    extrapolated_D_eff
        D_eff for voxels of no size, at first order. On the images behind `SAFETY` it left a median error of 0.011 of
        0.097.
    relative_error
        Of D_eff at the image's own voxels, estimated from above. It holds for tau as well: where D_eff is too small by
        this share, tau is too large by it.
    reason
        What was found, in one sentence.
    """

    shape: Shape
    D_eff: Mapping[int, float]
    tau: Mapping[int, float | None]
    observed_order: float | None
    extrapolated_D_eff: float | None
    relative_error: float | None
    reason: str


def discretisation_estimate(
    image: VoxelImage,
    conductivity: Mapping[str, float],
    *,
    axis: Axis,
    solve: Solve = effective_transport,
    progress: Progress | None = None,
    **settings: Any,
) -> DiscretisationEstimate:
    """D_eff at one, two and four times the voxel size, and the error of the first from them.

    The estimate asks what finer voxels would show of the same structure. It cannot see what the image never held: necks
    and films thinner than a voxel, or a threshold that was set wrong. It takes 1.6 times the work of one solve.

    Parameters
    ----------
    image
        Voxels that fill no block of 4 x 4 x 4 at the high ends are cropped; an axis of one voxel is left as it is.
    conductivity, axis, settings
        As in `effective_transport`: porosity, bulk, length, tolerance, ...
    solve
        What finds a `Direction`: `effective_transport`, or a function with the same arguments.
    progress
        Called with the share of the work done and a message.

    Raises
    ------
    CaseError, NotConvergedError
        As `effective_transport`.
    """
    short = [axis for axis, n in zip(AXES, image.shape, strict=True) if 1 < n < FEWEST]
    if short:
        direction = solve(image, conductivity, axis=axis, **settings)
        reason = (
            f"along {', '.join(short)} the image has fewer than {FEWEST} voxels, too few to leave out three of four"
        )
        return _refused(image.shape, {1: [direction]}, reason)
    whole = _cropped(image)
    found: dict[int, list[Direction]] = {}
    for number, factor in enumerate(FACTORS):
        if progress:
            progress(number / len(FACTORS), f"transport at {factor} times the voxel size")
        found[factor] = [solve(thin, conductivity, axis=axis, **settings) for thin in thinned(whole, factor)]
    if progress:
        progress(1.0, "voxel size done")
    step = unlike_neighbours(thinned(whole, 2)[0], conductivity)
    return _judged(whole.shape, found, step)


def thinned(image: VoxelImage, factor: int) -> list[VoxelImage]:
    """The image with voxels `factor` (even) times as wide, each with the phase of one voxel that it covers.

    Four images, from voxels around the blocks' centres; for factor 1 the image alone. An axis of one voxel is left as
    it is.
    """
    if factor == 1:
        return [image]
    steps = [1 if n == 1 else factor for n in image.shape]
    hx, hy, hz = (h * step for h, step in zip(image.voxel_size, steps, strict=True))
    first = factor // 2 - 1
    windows = [
        tuple(slice(0 if step == 1 else first + side, None, step) for side, step in zip(corner, steps, strict=True))
        for corner in CORNERS
    ]
    return [replace(image, labels=np.ascontiguousarray(image.labels[w]), voxel_size=(hx, hy, hz)) for w in windows]


def unlike_neighbours(image: VoxelImage, conductivity: Mapping[str, float]) -> float:
    """Mean square difference of the conductivities of neighbours, over that of independent voxels.

    0 for very fine voxels, 1 where a voxel says nothing about the next one; 0 where all conduct alike.
    """
    k = np.array([conductivity.get(name, 0.0) for name in image.phases])[image.labels]
    variance = float(np.var(k))
    if variance == 0.0:
        return 0.0
    square = [np.mean(np.diff(k, axis=a) ** 2) for a in range(3) if image.shape[a] > 1]
    return float(np.mean(square)) / (2.0 * variance)


def _cropped(image: VoxelImage) -> VoxelImage:
    """The largest part from the low corner with multiples of four voxels along each axis of more than one."""
    nx, ny, nz = (n if n == 1 else n - n % FACTORS[-1] for n in image.shape)
    return crop(image, ((0, nx), (0, ny), (0, nz)))


def _judged(shape: Shape, found: Mapping[int, Sequence[Direction]], step: float) -> DiscretisationEstimate:
    """The estimate, or the first check that fails."""
    lost = [factor for factor, directions in found.items() if not all(d.percolates for d in directions)]
    if lost:
        return _refused(shape, found, f"nothing percolates at {lost[0]} times the voxel size")
    if step > UNRESOLVED:
        return _refused(
            shape,
            found,
            f"voxels two apart are nearly independent ({step:.2f} of the mean square difference of independent ones): "
            "the structure is not resolved",
        )
    shares = {factor: min(d.percolating_fraction for d in directions) for factor, directions in found.items()}
    worst = min(shares, key=lambda factor: shares[factor])
    if shares[worst] < PERCOLATING_LEFT * shares[1]:
        return _refused(
            shape,
            found,
            f"the percolating fraction falls from {shares[1]:.3f} to {shares[worst]:.3f} at {worst} times the voxel "
            "size",
        )
    return _extrapolated(shape, found)


def _extrapolated(shape: Shape, found: Mapping[int, Sequence[Direction]]) -> DiscretisationEstimate:
    """Extrapolation and error where the three values fall in line at about first order."""
    D = _means(found)
    first, second = D[1] - D[2], D[2] - D[4]
    solver = {factor: D[factor] * max(d.error_estimate for d in found[factor]) for factor in FACTORS}
    error = float(SAFETY * (max(abs(first), 0.5 * abs(second)) + solver[1] + solver[2]) / D[1])
    if abs(first) <= solver[1] + solver[2] and abs(second) <= solver[2] + solver[4]:
        reason = "the three values are equal to within the error of the solver"
        return DiscretisationEstimate(shape, D, _taus(found), None, D[1], error, reason)
    if first * second <= 0.0:
        return _refused(shape, found, f"D_eff goes up and down with the voxel size: {_listed(D)}")
    order = float(np.log2(second / first))
    if not ORDERS[0] <= order <= ORDERS[1]:
        return _refused(
            shape,
            found,
            f"D_eff changes at order {order:.2f} with the voxel size ({_listed(D)}); {ORDERS[0]:g} to {ORDERS[1]:g} is "
            "expected of a resolved structure",
            order,
        )
    reason = f"D_eff changes at order {order:.2f} with the voxel size: {_listed(D)}"
    return DiscretisationEstimate(shape, D, _taus(found), order, D[1] + first, error, reason)


def _refused(
    shape: Shape, found: Mapping[int, Sequence[Direction]], reason: str, order: float | None = None
) -> DiscretisationEstimate:
    return DiscretisationEstimate(shape, _means(found), _taus(found), order, None, None, reason)


def _means(found: Mapping[int, Sequence[Direction]]) -> dict[int, float]:
    return {factor: float(np.mean([d.D_eff for d in directions])) for factor, directions in found.items()}


def _taus(found: Mapping[int, Sequence[Direction]]) -> dict[int, float | None]:
    """Mean tau by factor; None where one of the images does not percolate."""
    taus: dict[int, float | None] = {}
    for factor, directions in found.items():
        values = [d.tau for d in directions if d.tau is not None]
        taus[factor] = float(np.mean(values)) if len(values) == len(directions) else None
    return taus


def _listed(D: Mapping[int, float]) -> str:
    return ", ".join(f"{value:.4g} at {factor}" for factor, value in D.items()) + " times the voxel size"
