"""Ellipsoids with sizes, shapes and orientations, moved in a periodic box until they touch and hardly overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from meshing.errors import MeshError, PackingError
from meshing.generate.common import Floats, Lengths
from meshing.generate.contact import Pairs, add_moves, bounding_pairs, packed, scales
from meshing.generate.spheres import DENSE, NEAR, PULL, REBUILD, SLACK, STEPS
from meshing.profile import Profile

ALIGNED = 0.999
"""Order parameter from which on all axes are parallel, and -0.5 ALIGNED below which they all lie in the plane."""
MOST_TURN = 0.3
"""Of a particle in one move, rad."""
BISECTIONS = 4
"""Of the fraction that can be reached, where the wanted one cannot: to 0.01 or 0.02."""


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoids:
    """Ellipsoids in a periodic box.

    Attributes
    ----------
    centre
        Shape (n, 3), m, inside the box.
    half_axes
        Shape (n, 3), m, along their own three axes.
    frame
        Unit vectors of their own axes as columns, shape (n, 3, 3).
    box
        Edges of the box, m; axis 0 is through-plane.
    margin
        Length at either end of axis 0 that no image will show, m: where it keeps a gradient's two ends apart.
    """

    centre: Floats
    half_axes: Floats
    frame: Floats
    box: Lengths
    margin: float = 0.0

    @property
    def matrix(self) -> Floats:
        """A of x.A^-1 x = 1 as (xx, xy, xz, yy, yz, zz), shape (n, 6), m2."""
        return _symmetric(self.frame, self.half_axes**2)

    @property
    def inverse(self) -> Floats:
        """A^-1 in the same form, 1/m2."""
        return _symmetric(self.frame, self.half_axes**-2.0)

    @property
    def diameter(self) -> Floats:
        """Diameter of the sphere of the same volume, shape (n,), m."""
        return np.asarray(2.0 * np.cbrt(np.prod(self.half_axes, axis=1)))

    @property
    def order(self) -> float:
        """Mean of (3 cos^2 - 1)/2 over the particles' volumes, of the angle between first own axis and axis 0."""
        cosine = self.frame[:, 0, 0]
        return float(np.average(1.5 * cosine**2 - 0.5, weights=np.prod(self.half_axes, axis=1)))

    @property
    def fraction(self) -> float:
        """Sum of their volumes over that of the box; what overlaps counts twice."""
        return 4.0 / 3.0 * np.pi * float(np.sum(np.prod(self.half_axes, axis=1))) / float(np.prod(self.box))


def draw_frames(n: int, order: float, rng: np.random.Generator) -> Floats:
    """Frames of n particles whose first axes have the order parameter `order`, shape (n, 3, 3), columns own axes.

    With t the cosine between a particle's first axis and axis 0, the density of t is proportional to exp(k t^2)
    (Watson's distribution), and k follows from the mean of (3 t^2 - 1)/2. One t is drawn from each of n equal parts of
    it. Azimuth and spin are uniform.

    Parameters
    ----------
    order
        1: all first axes along axis 0; 0: no preferred direction; -0.5: all of them in the plane.
    """
    if not -0.5 <= order <= 1.0:
        raise MeshError(
            f"the order parameter of the orientation is {order:g}; it must be between -0.5 (first axes in the plane) "
            "and 1 (all through-plane); 0 has no preferred direction"
        )
    t = rng.permutation(_cosines((np.arange(n) + rng.random(n)) / n, order))
    around, spin = 2.0 * np.pi * rng.random(n), 2.0 * np.pi * rng.random(n)
    s = np.sqrt(np.maximum(0.0, 1.0 - t**2))
    first = np.stack([t, s * np.cos(around), s * np.sin(around)], axis=1)
    side = np.stack([-s, t * np.cos(around), t * np.sin(around)], axis=1)
    third = np.cross(first, side)
    cosine, sine = np.cos(spin)[:, None], np.sin(spin)[:, None]
    return np.stack([first, cosine * side + sine * third, cosine * third - sine * side], axis=2)


def moved_apart(
    particles: Ellipsoids, overlap: float, fraction: Profile | None = None, *, steps: int = STEPS
) -> Ellipsoids:
    """The particles moved until hardly any overlap by more than `overlap` and near ones touch.

    As `meshing.generate.spheres.pack`: one third of the moves spreads them out, one draws near ones together, one
    pushes those apart that are closer than allowed. The particles are spread to what their place in the profile
    leaves them, so that a gradient of the volume fraction stays. They turn as they are pushed, and are turned back, in
    the order they have then, to the cosines with axis 0 that they had at the start.

    Parameters
    ----------
    overlap
        Allowed overlap along the line of contact, as a share of the two extents along it.
    fraction
        Volume fraction through the thickness; the mean of all where None.
    """
    if not 0.0 <= overlap < 0.5:
        raise MeshError(f"overlap is {overlap:g}; it must be a share of the sum of two radii, at least 0 and below 0.5")
    box, volume = np.asarray(particles.box), np.prod(particles.half_axes, axis=1)
    reach = np.max(particles.half_axes, axis=1)
    wanted = fraction if fraction is not None else Profile((particles.fraction,))
    pulled = max(PULL, overlap / (1.0 - overlap))
    round_ = bool(np.all(particles.half_axes == particles.half_axes[:, :1]))
    cosines, matrix, pairs = np.sort(np.abs(particles.frame[:, 0, 0])), particles.matrix, np.empty((0, 2), np.int32)
    for step in range(steps):
        if step % REBUILD == 0:
            particles = particles if round_ else _with_cosines(particles, cosines)
            matrix = particles.matrix
            pairs = _near(particles.centre, matrix, reach, box)
        spread = _spread(particles.centre, particles, wanted)
        spread = 0.5 * (spread[pairs[:, 0]] + spread[pairs[:, 1]])
        stage = 3 * step // steps
        closest = 1.0 + spread if stage == 0 else np.full(spread.shape, 1.0 - overlap)
        pull = spread + pulled if stage == 1 else np.zeros_like(spread)
        shift, turn = np.zeros_like(particles.centre), np.zeros_like(particles.centre)
        add_moves(particles.centre, matrix, volume, box, pairs, closest, pull, shift, turn)
        centre = np.mod(particles.centre + shift, box)
        particles = replace(particles, centre=np.where(centre < box, centre, 0.0))
        if not round_:
            particles = replace(particles, frame=_turned(particles.frame, turn))
            matrix = particles.matrix
    return particles


def relax(particles: Ellipsoids, overlap: float, fraction: Profile | None = None) -> Ellipsoids:
    """The particles moved until they touch and hardly overlap, as `moved_apart` does, and checked.

    Raises
    ------
    PackingError
        Where more than 2 % of the overlapping pairs still overlap too much; it names the fraction that can be reached.
    """
    moved = moved_apart(particles, overlap, fraction)
    found = worst_overlap(moved)
    if found > overlap + SLACK:
        raise _too_dense(moved, overlap, found, fraction)
    return moved


def worst_overlap(particles: Ellipsoids) -> float:
    """Overlap that 98 % of the overlapping pairs do not exceed, as a share of the extents along the contact."""
    reach = np.max(particles.half_axes, axis=1)
    pairs = bounding_pairs(particles.centre, reach, np.asarray(particles.box), 1.0)
    overlaps = 1.0 - scales(particles.centre, particles.matrix, np.asarray(particles.box), pairs)
    overlaps = overlaps[overlaps > 0.0]
    return float(np.quantile(overlaps, 0.98)) if overlaps.size else 0.0


def _near(centre: Floats, matrix: Floats, reach: Floats, box: Floats) -> Pairs:
    pairs = bounding_pairs(centre, reach, box, NEAR)
    return pairs[scales(centre, matrix, box, pairs) < NEAR]


def _turned(frame: Floats, turn: Floats) -> Floats:
    """Frames turned by rotation vectors (Rodrigues), none by more than `MOST_TURN`."""
    angle = np.linalg.norm(turn, axis=1)
    axis = turn / np.maximum(angle, 1e-300)[:, None]
    angle = np.minimum(angle, MOST_TURN)[:, None, None]
    across = np.cross(axis[:, None, :], frame.transpose(0, 2, 1)).transpose(0, 2, 1)
    along = axis[:, :, None] * np.einsum("ni,nij->nj", axis, frame)[:, None, :]
    return np.asarray(frame * np.cos(angle) + across * np.sin(angle) + along * (1.0 - np.cos(angle)))


def _with_cosines(particles: Ellipsoids, cosines: Floats) -> Ellipsoids:
    """The particles, their first axes turned to given cosines with axis 0 (ascending) in the order they have now."""
    now = particles.frame[:, 0, 0]
    wanted = np.empty_like(now)
    wanted[np.argsort(np.abs(now), kind="stable")] = cosines
    wanted = np.copysign(wanted, now)
    # a turn about e_x x u by the difference of the angles to e_x
    axis = np.stack([np.zeros_like(now), -particles.frame[:, 2, 0], particles.frame[:, 1, 0]], axis=1)
    length = np.linalg.norm(axis, axis=1)
    angle = np.arccos(np.clip(wanted, -1.0, 1.0)) - np.arccos(np.clip(now, -1.0, 1.0))
    turn = axis * np.where(length > 0.0, angle / np.maximum(length, 1e-300), 0.0)[:, None]
    return replace(particles, frame=_turned(particles.frame, turn))


def _spread(centre: Floats, particles: Ellipsoids, fraction: Profile) -> Floats:
    """Share by which each particle may swell until all around it are packed as densely as random places allow."""
    depth = (centre[:, 0] - particles.margin) / (particles.box[0] - 2.0 * particles.margin)
    return np.maximum(0.0, np.cbrt(DENSE / fraction.at(depth)) - 1.0)


def _too_dense(particles: Ellipsoids, overlap: float, found: float, profile: Profile | None) -> PackingError:
    """The error that says how far the overlap went, and which fraction can be packed."""
    fraction, reached = particles.fraction, _densest(particles, overlap, found, profile)
    return PackingError(
        f"particles filling {fraction:.3g} of the image still overlap by {found:.3f} of their extents, beyond the "
        f"allowed {overlap:g}; with that overlap {reached:.2f} was reached: lower the active volume fraction to it, "
        f"widen the size distribution (sigma), align the particles (order), or allow an overlap of {found:.2f}",
        reached=reached,
    )


def _densest(particles: Ellipsoids, overlap: float, found: float, profile: Profile | None) -> float:
    """Largest fraction at which the overlaps are as allowed, by bisection between here and where shrinking ends them.

    Each trial goes on from the densest packing so far, with particles grown by one factor.
    """
    low = replace(particles, half_axes=particles.half_axes * ((1.0 - found) / (1.0 - overlap - SLACK)))
    below, above = low.fraction, particles.fraction
    for _ in range(BISECTIONS):
        middle = 0.5 * (below + above)
        trial = replace(low, half_axes=low.half_axes * np.cbrt(middle / low.fraction))
        share = (
            None
            if profile is None
            else Profile(tuple(value * middle / particles.fraction for value in profile.values), profile.stepped)
        )
        trial = moved_apart(trial, overlap, share)
        if worst_overlap(trial) <= overlap + SLACK:
            low, below = trial, middle
        else:
            above = middle
    return below


def _symmetric(frame: Floats, values: Floats) -> Floats:
    """Matrices of given eigenvectors and eigenvalues as (xx, xy, xz, yy, yz, zz), shape (n, 6)."""
    return packed(np.einsum("nik,nk,njk->nij", frame, values, frame))


def _cosines(quantile: Floats, order: float) -> Floats:
    """Cosines t in [0, 1] at quantiles of the density exp(k t^2) whose mean of (3 t^2 - 1)/2 is `order`."""
    if order >= ALIGNED:
        return np.ones_like(quantile)
    if order <= -0.5 * ALIGNED:
        return np.zeros_like(quantile)
    t = np.linspace(0.0, 1.0, 20_001)

    def density(k: float) -> Floats:
        return np.asarray(np.exp(k * t**2 - max(k, 0.0)))

    def excess(k: float) -> float:
        return float(np.average(1.5 * t**2 - 0.5, weights=density(k))) - order

    k = brentq(excess, -1e6, 1e6)
    below = np.concatenate(([0.0], np.cumsum(0.5 * (density(k)[1:] + density(k)[:-1]))))
    return np.asarray(np.interp(quantile * below[-1], below, t))
