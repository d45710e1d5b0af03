from dataclasses import replace
from math import pi

import numpy as np
import pytest
from scipy import ndimage

from battsim.errors import CaseError
from battsim.post.transport import Direction, effective_transport
from battsim.post.transport.discretisation import discretisation_estimate, thinned, unlike_neighbours
from meshing.generate import site_noise
from meshing.image import VoxelImage, coarsen

UNIT = (1.0, 1.0, 1.0)
PHASES = ("pore", "active")
PORE = {"pore": 1.0}


def image_of(solid, voxel_size=UNIT):
    return VoxelImage(np.asarray(solid).astype(np.uint8), voxel_size, PHASES)


def octant_of_cubic_array(fraction, n):
    """Void around an eighth of an insulating sphere in the cell of a simple cubic array, n voxels per half cell."""
    r = n * (6 * fraction / pi) ** (1 / 3)
    x = (np.arange(n) + 0.5) ** 2
    return image_of(x[:, None, None] + x[:, None] + x <= r**2)


def overlapping_spheres(n, porosity, radius, seed):
    """Insulating spheres in the unit cube, sampled at the centres of n^3 voxels: the same structure for every n."""
    rng = np.random.default_rng(seed)
    count = round(-np.log(porosity) / (4 / 3 * pi * radius**3))
    x = (np.arange(n) + 0.5) / n
    solid = np.zeros((n, n, n), bool)
    for centre in rng.random((count, 3)):
        square = [((x - c + 0.5) % 1 - 0.5) ** 2 for c in centre]
        near = [np.flatnonzero(s <= radius**2) for s in square]
        a, b, c = (s[i] for s, i in zip(square, near, strict=True))
        solid[np.ix_(*near)] |= a[:, None, None] + b[:, None] + c <= radius**2
    return image_of(solid)


def smooth_blobs(n, porosity, width, seed):
    """Periodic noise smoothed over `width` of the cube's edge."""
    noise = np.random.default_rng(seed).standard_normal((n, n, n))
    field = ndimage.gaussian_filter(noise, width * n, mode="wrap")
    return image_of(field > np.quantile(field, porosity))


# against known answers


@pytest.mark.parametrize(
    ("fraction", "exact"), [(0.1, 0.857112), (0.2, 0.726703), (0.3, 0.605670), (0.4, 0.490306), (0.5, 0.376380)]
)
def test_cubic_array_of_spheres_is_bounded_and_extrapolated(fraction, exact):
    """A. S. Sangani, A. Acrivos, Int. J. Multiphase Flow 9 (1983) 181-185: the conductivity of cubic arrays."""
    found = discretisation_estimate(octant_of_cubic_array(fraction, 48), PORE, axis="x", tolerance=1e-6)
    error = abs(exact - found.D_eff[1]) / found.D_eff[1]
    # from above, and not by much: measured 1.2 to 1.6 times the error
    assert error < found.relative_error < 2.0 * error
    # measured: a fifth of the error is left at most
    assert abs(exact - found.extrapolated_D_eff) / found.D_eff[1] < 0.3 * error
    assert 0.5 <= found.observed_order <= 2.5


def test_dilute_spheres_follow_maxwell():
    """J. C. Maxwell: D_eff = 2 (1 - phi) / (2 + phi); the cubic array's next term is below 1e-5 at this fraction."""
    found = discretisation_estimate(octant_of_cubic_array(0.02, 48), PORE, axis="x", tolerance=1e-7)
    exact = 2 * (1 - 0.02) / (2 + 0.02)
    error = abs(exact - found.D_eff[1]) / found.D_eff[1]
    assert error < found.relative_error < 3.0 * error
    assert abs(exact - found.extrapolated_D_eff) / found.D_eff[1] < 0.5 * error


@pytest.mark.parametrize(("porosity", "radius", "seed"), [(0.45, 0.12, 3), (0.35, 0.2, 6)])
def test_spheres_at_random_sampled_finely_and_coarsely(porosity, radius, seed):
    D_eff = {
        n: effective_transport(overlapping_spheres(n, porosity, radius, seed), PORE, axis="x").D_eff for n in (80, 160)
    }
    exact = 2 * D_eff[160] - D_eff[80]  # first order; 256 and 128 voxels give the same to 0.3 %
    found = discretisation_estimate(overlapping_spheres(64, porosity, radius, seed), PORE, axis="x")
    error = abs(exact - found.D_eff[1]) / found.D_eff[1]
    assert error > 0.1
    assert error < found.relative_error < 2.0 * error
    assert abs(exact - found.extrapolated_D_eff) / found.D_eff[1] < 0.2 * error


def test_image_whose_voxels_are_majorities_of_finer_ones():
    """What a detector does; the estimate was made for voxels that are points."""
    fine = overlapping_spheres(192, 0.45, 0.12, 3)
    D_eff = [effective_transport(part, PORE, axis="x").D_eff for part in (fine, *thinned(fine, 2))]
    exact = 2 * D_eff[0] - np.mean(D_eff[1:])
    found = discretisation_estimate(coarsen(fine, 3), PORE, axis="x")
    error = abs(exact - found.D_eff[1]) / found.D_eff[1]
    assert error > 0.1
    assert error < found.relative_error < 2.0 * error


# the rule, on transport that is known at every voxel size


def direction_of(D_eff, share=1.0, error=0.0):
    if D_eff == 0.0:
        return Direction(None, None, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
    return Direction(0.5 / D_eff, 0.5 / D_eff, D_eff, True, share, 0.0, 0.0, error, 1, 0.0)


def solving(D_eff, share=None, error=0.0):
    """Transport as a function of the voxel size."""

    def solve(image, _conductivity, **_settings):
        h = image.voxel_size[0]
        return direction_of(D_eff(h), share(h) if share else 1.0, error)

    return solve


BLOBS = smooth_blobs(16, 0.5, 0.15, 0)


def test_first_order_is_extrapolated_exactly():
    found = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving(lambda h: 0.3 - 0.02 * h))
    assert found.observed_order == pytest.approx(1.0, rel=1e-12)
    assert found.extrapolated_D_eff == pytest.approx(0.3, rel=1e-14)
    assert found.relative_error == pytest.approx(1.5 * 0.02 / 0.28, rel=1e-12)
    assert found.D_eff == pytest.approx({1: 0.28, 2: 0.26, 4: 0.22}, rel=1e-14)
    assert found.tau == pytest.approx({1: 0.5 / 0.28, 2: 0.5 / 0.26, 4: 0.5 / 0.22}, rel=1e-14)


def test_larger_second_difference_sets_the_error():
    found = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving(lambda h: 0.3 - 0.002 * h**2))
    assert found.observed_order == pytest.approx(2.0, rel=1e-12)
    assert found.relative_error == pytest.approx(1.5 * 0.5 * 0.002 * 12 / 0.298, rel=1e-12)


def test_error_of_the_solver_is_added():
    exact = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving(lambda h: 0.3 - 0.02 * h))
    rough = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving(lambda h: 0.3 - 0.02 * h, error=1e-2))
    assert rough.relative_error - exact.relative_error == pytest.approx(1.5 * 1e-2 * (0.28 + 0.26) / 0.28, rel=1e-10)


@pytest.mark.parametrize(
    ("D_eff", "order"), [(lambda h: 0.3 - 0.0002 * h**3, 3.0), (lambda h: 0.3 - 0.02 * h**0.3, 0.3)]
)
def test_other_orders_are_refused(D_eff, order):
    found = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving(D_eff))
    assert found.observed_order == pytest.approx(order, rel=1e-9)
    assert (found.relative_error, found.extrapolated_D_eff) == (None, None)
    assert f"order {order:.2f}" in found.reason


def test_ups_and_downs_are_refused():
    found = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving({1.0: 0.3, 2.0: 0.28, 4.0: 0.29}.get))
    assert (found.relative_error, found.observed_order) == (None, None)
    assert "up and down" in found.reason


def test_phase_that_is_lost_or_torn_apart_is_refused():
    lost = discretisation_estimate(BLOBS, PORE, axis="x", solve=solving({1.0: 0.3, 2.0: 0.28, 4.0: 0.0}.get))
    assert lost.relative_error is None
    assert lost.reason == "nothing percolates at 4 times the voxel size"
    assert lost.tau[4] is None
    first_order = solving(lambda h: 0.3 - 0.02 * h, share=lambda h: 0.9 if h < 3.0 else 0.44)
    torn = discretisation_estimate(BLOBS, PORE, axis="x", solve=first_order)
    assert torn.relative_error is None
    assert "from 0.900 to 0.440 at 4 times" in torn.reason


# images


def test_straight_channel_has_no_error_from_its_voxels():
    solid = np.ones((16, 16, 16), bool)
    solid[:, 4:12, 4:12] = False
    found = discretisation_estimate(image_of(solid), PORE, axis="x", tolerance=1e-9)
    assert found.D_eff == pytest.approx({1: 0.25, 2: 0.25, 4: 0.25}, rel=1e-8)
    assert found.extrapolated_D_eff == found.D_eff[1]
    assert found.relative_error < 1e-8  # of the solver alone
    assert "equal" in found.reason


def test_noise_is_not_resolved():
    noise = site_noise((32, 32, 32), 0.5, np.random.default_rng(0))
    found = discretisation_estimate(noise, PORE, axis="x")
    assert found.relative_error is None
    assert "not resolved" in found.reason


def test_path_of_one_voxel_is_lost():
    solid = np.ones((16, 16, 16), bool)
    solid[:, 5, 5] = False
    found = discretisation_estimate(image_of(solid), PORE, axis="x")
    assert found.relative_error is None
    assert "nothing percolates at 2 times" in found.reason


def test_too_few_voxels_to_thin():
    found = discretisation_estimate(smooth_blobs(15, 0.6, 0.15, 1), PORE, axis="x")
    assert found.D_eff.keys() == {1}
    assert found.relative_error is None
    assert "along x, y, z the image has fewer than 16 voxels" in found.reason


def test_image_is_cropped_to_multiples_of_four():
    found = discretisation_estimate(
        VoxelImage(np.zeros((19, 16, 22), np.uint8), UNIT, PHASES), PORE, axis="x", solve=solving(lambda _: 0.5)
    )
    assert found.shape == (16, 16, 20)


def test_image_of_one_layer():
    row = smooth_blobs(48, 0.6, 0.12, 2).labels[:, :, :1]
    found = discretisation_estimate(VoxelImage(row, UNIT, PHASES), PORE, axis="x")
    assert found.shape == (48, 48, 1)
    assert found.relative_error > 0.0


# thinning


@pytest.mark.parametrize("factor", [2, 4])
def test_thinned_images_together_keep_the_blocks_centres(factor):
    at = np.arange(16, dtype=np.uint8)
    image = VoxelImage(np.broadcast_to(at[:, None, None], (16, 16, 16)).copy(), (1.0, 2.0, 3.0), tuple(map(str, at)))
    for axis in range(3):
        turned = replace(image, labels=np.moveaxis(image.labels, 0, axis))
        parts = thinned(turned, factor)
        mean = np.mean([part.labels for part in parts], axis=0)
        centres = factor * np.arange(16 // factor) + 0.5 * (factor - 1)
        assert np.array_equal(np.moveaxis(mean, axis, 0)[:, 0, 0], centres)
        assert all(part.voxel_size == (factor, 2.0 * factor, 3.0 * factor) for part in parts)


def test_thinned_images_share_no_voxel():
    image = VoxelImage(np.arange(64, dtype=np.uint8).reshape(4, 4, 4), UNIT, tuple(map(str, range(64))))
    kept = np.concatenate([part.labels.ravel() for part in thinned(image, 2)])
    assert kept.size == np.unique(kept).size == 32


def test_unlike_neighbours_from_uniform_to_noise_to_checkerboard():
    board = np.indices((8, 8, 8)).sum(axis=0) % 2
    noise = site_noise((40, 40, 40), 0.3, np.random.default_rng(1))
    assert unlike_neighbours(image_of(board), PORE) == pytest.approx(2.0)
    assert unlike_neighbours(noise, PORE) == pytest.approx(1.0, abs=0.02)  # four deviations of 190 000 faces
    assert unlike_neighbours(image_of(board), {"pore": 1.0, "active": 1.0}) == 0.0


# what is passed on


def test_settings_reach_the_solver_and_progress_the_caller():
    seen, told = [], []

    def solve(image, conductivity, **settings):
        seen.append((image.shape, conductivity, settings))
        return direction_of(0.3 - 0.02 * image.voxel_size[0])

    settings = {"porosity": {"pore": 0.5}, "tolerance": 1e-3}
    discretisation_estimate(BLOBS, PORE, axis="z", solve=solve, progress=lambda *a: told.append(a), **settings)
    assert [shape[0] for shape, *_ in seen] == [16, 8, 8, 8, 8, 4, 4, 4, 4]
    assert all(passed == (PORE, {"axis": "z", **settings}) for passed in [call[1:] for call in seen])
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_bad_input_is_the_solvers_to_refuse():
    with pytest.raises(CaseError, match="no phase named 'void'"):
        discretisation_estimate(BLOBS, {"void": 1.0}, axis="x")
