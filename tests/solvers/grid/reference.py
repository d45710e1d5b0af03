"""A grid problem solved in the plainest way: one voxel and one face after another, and a sparse factorisation.

Shares no line with the solver that it checks; for a few thousand voxels.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces with a conductance g > 0, their jump being B u + offset; u counts all voxels in C order."""

    B: sp.csr_array
    offset: np.ndarray
    g: np.ndarray

    def dissipation(self, u, *, offset=True):
        """Sum of g (jump)^2; without offset that of a difference of two solutions."""
        return float(self.g @ (self.B @ np.nan_to_num(u.ravel()) + (self.offset if offset else 0.0)) ** 2)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Solution of a grid problem; `floating` holds the voxels of each cluster without any fixed potential."""

    potential: np.ndarray
    energy: float
    dissipation: float
    floating: list[np.ndarray]
    faces: Faces


def half_resistances(problem):
    if problem.half_resistance is not None:
        return problem.half_resistance[problem.voxels]
    k = problem.voxels.astype(float)
    return np.divide(0.5, k, out=np.full(k.shape, np.inf), where=k > 0)


def faces_of(problem):
    """Every conducting face, outer ones included."""
    r, shape = half_resistances(problem), problem.voxels.shape
    number = np.arange(r.size).reshape(shape)
    rows = []  # low voxel, high voxel or None, offset, g; jump = u_high + offset - u_low
    for here in np.ndindex(shape):
        if not np.isfinite(r[here]):
            continue
        for axis in range(3):
            end, factor = problem.ends[axis], problem.face_factor[axis]
            beyond = list(here)
            beyond[axis] += 1
            offset = 0.0
            if beyond[axis] == shape[axis] and end == "periodic":
                beyond[axis], offset = 0, problem.rise[axis]
            if beyond[axis] < shape[axis] and np.isfinite(r[tuple(beyond)]):
                there = tuple(beyond)
                rows.append((number[here], number[there], offset, factor / (r[here] + r[there])))
            if not isinstance(end, tuple):
                continue
            for fixed, place in zip(end, (0, shape[axis] - 1), strict=True):
                if here[axis] != place:
                    continue
                across = here[:axis] + here[axis + 1 :]
                value = fixed.value if np.ndim(fixed.value) == 0 else fixed.value[across]
                g = factor / r[here] if fixed.conductance is None else fixed.conductance[across]
                if g > 0:
                    rows.append((number[here], None, value, g))
    B = sp.lil_array((len(rows), r.size))
    for face, (low, high, _, _) in enumerate(rows):
        B[face, low] -= 1.0
        if high is not None:
            B[face, high] += 1.0  # a periodic axis of one voxel: the voxel is its own neighbour, and both cancel
    return Faces(B.tocsr(), np.array([row[2] for row in rows], float), np.array([row[3] for row in rows], float))


def floating_clusters(problem, faces):
    """Voxels of each cluster without a fixed potential, as masks of the grid."""
    conducting = np.isfinite(half_resistances(problem)).ravel()
    inner = np.asarray(faces.B.sum(axis=1)).ravel() == 0  # -1 where the other side is a fixed potential
    links = abs(faces.B[inner])
    _, cluster = connected_components(links.T @ links)
    grounded = set(cluster[(abs(faces.B[~inner]).sum(axis=0) > 0).ravel()])
    names = set(cluster[conducting]) - grounded
    return [((cluster == name) & conducting).reshape(problem.voxels.shape) for name in sorted(names)]


def solve_reference(problem):
    """Potential, energy and dissipation of a small grid, by a sparse LU; floating clusters are 0 at their first voxel.

    Their sources must sum to zero; that is for the caller to see to.
    """
    conducting = np.isfinite(half_resistances(problem)).ravel()
    faces = faces_of(problem)
    floating = floating_clusters(problem, faces)
    source = np.zeros(conducting.size) if problem.source is None else problem.source.ravel().astype(float)
    A = (faces.B.T @ sp.diags_array(faces.g) @ faces.B).tocsr()
    b = source - faces.B.T @ (faces.g * faces.offset)
    free = conducting.copy()
    for mask in floating:
        free[np.flatnonzero(mask)[0]] = False
    u = np.where(conducting, 0.0, np.nan)
    if free.any():
        matrix = A[free][:, free].tocsc()
        factor = splu(matrix)
        x = factor.solve(b[free])
        u[free] = x + factor.solve(b[free] - matrix @ x)
    dissipation = faces.dissipation(u)
    work = float(source[conducting] @ u[conducting])
    return Reference(u.reshape(problem.voxels.shape), dissipation - 2.0 * work, dissipation, floating, faces)


def fluxes_of(problem, u):
    """What a potential lets in at the low and the high end of each axis with fixed potentials."""
    found = {}
    for axis, end in enumerate(problem.ends):
        if not isinstance(end, tuple):
            continue
        pairs = []
        for fixed, place in zip(end, (0, -1), strict=True):
            half = half_resistances(problem).take(place, axis)
            g = problem.face_factor[axis] / half if fixed.conductance is None else fixed.conductance
            pairs.append(float(np.sum(g * (fixed.value - np.nan_to_num(u.take(place, axis))))))
        found[axis] = tuple(pairs)
    return found
