"""Slabs of face lists: no two that run together touch one cell, and every face belongs to one."""

from itertools import pairwise

import numpy as np
import pytest

from battsim.fvm.face_kernels import add_flux, add_salt, add_to
from battsim.fvm.slabs import in_slabs, over_slabs, slab_edges
from battsim.threads import Team


def grid_faces(shape):
    """Faces of a grid, sorted by plane, their cells' planes, and their slabs."""
    cells = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    pairs = [(cells[:-1], cells[1:]), (cells[:, :-1], cells[:, 1:]), (cells[:, :, :-1], cells[:, :, 1:])]
    owner, neighbour = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in range(2))
    plane = np.repeat(np.arange(shape[0], dtype=np.int32), shape[1] * shape[2])
    order, slabs = in_slabs(plane[owner], plane[neighbour], shape[0])
    return owner[order], neighbour[order], plane, slabs


@pytest.mark.parametrize("n_planes", [1, 2, 3, 4, 5, 8, 31, 32, 33, 263])
def test_slabs_of_one_parity_share_no_plane(n_planes):
    owner, neighbour, plane, slabs = grid_faces((n_planes, 3, 2))
    assert slabs[0] == 0
    assert slabs[-1] == owner.size
    assert (np.diff(slabs) >= 0).all()
    count = slabs.size - 1
    assert count == 1 or count % 2 == 0
    assert n_planes < 4 or count > 1
    touched = [set(plane[owner[low:high]]) | set(plane[neighbour[low:high]]) for low, high in pairwise(slabs)]
    for parity in (0, 1):
        alike = touched[parity::2]
        assert sum(map(len, alike)) == len(set().union(*alike, set()))


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("n_planes", [7, 16, 33, 263])
def test_faces_that_reach_far_get_slabs_as_wide(n_planes, reach):
    """Faces between all planes up to `reach` apart, as beside merged cells."""
    pairs = [(a, b) for a in range(n_planes) for b in range(a, min(a + reach, n_planes - 1) + 1)]
    first, second = np.random.default_rng(2).permutation(np.array(pairs, np.int32)).T
    order, slabs = in_slabs(second, first, n_planes)
    assert np.array_equal(np.sort(order), np.arange(len(pairs)))
    assert np.array_equal(slab_edges(n_planes, 1), slab_edges(n_planes, 2))
    assert slabs.size > 2 or n_planes < 2 * reach
    touched = [set(first[order[low:high]]) | set(second[order[low:high]]) for low, high in pairwise(slabs)]
    for parity in (0, 1):
        assert sum(map(len, touched[parity::2])) == len(set().union(*touched[parity::2]))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_fluxes_leave_the_owner_and_enter_the_neighbour(threads):
    owner, neighbour, plane, slabs = grid_faces((40, 30, 29))
    rng = np.random.default_rng(0)
    flux = rng.normal(size=owner.size)
    wanted = np.bincount(owner, flux, plane.size) - np.bincount(neighbour, flux, plane.size)
    out = np.zeros(plane.size)
    with Team(threads) as team:
        over_slabs(team, add_flux, slabs, owner, neighbour, flux, out)
        np.testing.assert_allclose(out, wanted, atol=1e-14)
        one_side = np.zeros(plane.size)
        over_slabs(team, add_to, slabs, neighbour, -2.0, flux, one_side)
        np.testing.assert_allclose(one_side, -2.0 * np.bincount(neighbour, flux, plane.size), atol=1e-14)
    alone = np.zeros(plane.size)
    with Team(1) as team:
        over_slabs(team, add_flux, slabs, owner, neighbour, flux, alone)
    assert np.array_equal(alone, out)  # the order of additions is that of the slabs, not of the threads


def test_salt_kernel_conserves_both_fluxes_in_float32_fields():
    owner, neighbour, plane, slabs = grid_faces((9, 6, 5))
    rng = np.random.default_rng(1)
    derivatives = rng.normal(size=(6, owner.size))
    c, phi = (1e6 * rng.normal(size=(2, plane.size))).astype(np.float32)
    to_c, to_phi = np.zeros((2, plane.size))
    with Team(2) as team:
        over_slabs(team, add_salt, slabs, owner, neighbour, *derivatives, c, phi, to_c, to_phi)
    for out, (by_o, by_n, by_phi) in ((to_c, derivatives[:3]), (to_phi, derivatives[3:])):
        dphi = phi[owner].astype(float) - phi[neighbour].astype(float)
        flux = by_o * c[owner] + by_n * c[neighbour] + by_phi * dphi
        wanted = np.bincount(owner, flux, plane.size) - np.bincount(neighbour, flux, plane.size)
        np.testing.assert_allclose(out, wanted, atol=1e-8)  # of 1e6
        assert abs(out.sum()) < 1e-12 * np.abs(out).sum()
