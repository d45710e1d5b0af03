from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import ndimage
from scipy.sparse.linalg import splu

from battsim.errors import CaseError, ImpossibleError, NotConvergedError
from battsim.post.transport import blocking, effective_transport
from battsim.post.transport.blocking import blocking_electrode
from battsim.solvers.linear import LinearStatus
from meshing.areas import FaceCosines
from meshing.generate import blobs
from meshing.image import AXES, VoxelImage

UNIT = (1e-6, 1e-6, 1e-6)
PHASES = ("pore", "active", "binder")
PORE = {"pore": 1.0}
EXACT = 1e-11  # tightest tolerance; what follows then holds to 1e-9


def image_of(pore, voxel_size=UNIT):
    return VoxelImage(np.where(pore, 0, 1).astype(np.uint8), voxel_size, PHASES)


def exactly(pore, **options):
    image = pore if isinstance(pore, VoxelImage) else image_of(pore)
    return blocking_electrode(image, PORE, **{"tolerance": EXACT, **options})


def resistance(result, image):
    """Re Z of a result for k_bulk = 1, over the voxel edge of a cubic voxel."""
    n, ny, nz = image.shape
    return n / (3 * result.k_eff * ny * nz)


def channel(n, length=None):
    pore = np.zeros((n, 3, 3), bool)
    pore[:length, 1, 1] = True
    return pore


# exact answers


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("voxel_size", [UNIT, (3e-6, 1e-6, 5e-7)])
def test_straight_channel(n, voxel_size):
    """The flux falls by 1/n in each voxel, and the last half voxel goes to the four faces of the wall."""
    hx, hy, hz = voxel_size
    along = n / 3 + 1 / (6 * n)  # 1/2 + sum of ((n - m) / n)^2 for m = 1 ... n - 1, times hx / (hy hz)
    to_wall = hy * hz / (2 * n * hx * (hy + hz) ** 2)
    result = exactly(image_of(channel(n), voxel_size))
    expected = 3 / n * (along + to_wall * hy * hz / hx)
    assert result.tau_e == pytest.approx(expected, rel=1e-10)
    assert result.tau_e == pytest.approx(1.0, abs=3 / n**2)
    assert result.k_eff == pytest.approx(1 / 9 / expected, rel=1e-10)
    assert result.wall_area == pytest.approx(2 * (hy + hz) / (9 * hy * hz), rel=1e-12)
    assert result.tau_e_connected == result.tau_e
    assert result.connected_fraction == 1.0


def test_a_dead_end_counts():
    """Half the resistance and half the volume, where through-flow sees nothing."""
    image = image_of(channel(40, 20))
    half = exactly(image)
    # 81 faces of the wall, one of them at the end; what flows between voxels m - 1 and m goes to those beyond
    beyond = 4 * (20 - np.arange(1, 20)) + 1
    assert resistance(half, image) == pytest.approx((81**2 / 2 + (beyond**2).sum() + 81 / 2) / 81**2, rel=1e-10)
    assert half.tau_e == pytest.approx(exactly(channel(40)).tau_e / 4, rel=0.03)  # but for the face at the end
    assert effective_transport(image, PORE, axis="x").tau is None


# against TauFactor's electrode solver

# TauFactor 1.2.1, ElectrodeSolver(image, omega=1e-6, device="cpu").solve(iter_limit=20000, conv_crit=1e-12), last of
# tau_es (S. Kench et al., J. Open Source Softw. 8 (2023) 5358). Its conventions: one voxel from the fixed potential to
# the first centres; the sides and the far end of the image are wall; L counts two voxels more; eps is of all pores


def behind_one_voxel():
    pore = np.random.default_rng(5).random((8, 7, 6)) < 0.72
    pore[0] = False
    pore[:2, 3, 3] = True
    return pore


def bottle():
    pore = np.zeros((12, 6, 5), bool)
    pore[:4, 2, 2] = pore[4:9, 1:5, 1:4] = pore[9:, 3, 1] = True
    return pore


def crossing():
    pore = np.zeros((9, 5, 5), bool)
    pore[:, 2, 2] = pore[4, :, 2] = pore[6, 2, :] = True
    return pore


def noise():
    return np.random.default_rng(1).random((10, 8, 9)) < 0.7


def field():
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((24, 20, 20)), 1.5, mode="wrap")
    return smooth > np.quantile(smooth, 0.5)


def walled(pore):
    """Solid at the sides and behind the far end, so that pores that end there have a wall."""
    return np.pad(pore, ((0, 1), (1, 1), (1, 1)))


@pytest.mark.parametrize(
    ("pore", "taufactor"),
    [(behind_one_voxel(), 19.69398141951894), (bottle(), 5.563418092279352), (crossing(), 2.300328445317525)],
    ids=["noise behind one voxel", "bottle", "crossing"],
)
def test_pores_with_one_entrance_agree_with_taufactor(pore, taufactor):
    image = image_of(walled(pore))
    n, ny, nz = pore.shape
    # all of the current passes the half voxel by which the fixed potentials differ
    Z = resistance(exactly(image), image) + 0.5
    # its real part at omega = 1e-6 has lost seven of sixteen digits to an imaginary part of 1e3 to 1e4
    assert 3 * Z * pore.mean() * ny * nz / (n + 2) == pytest.approx(taufactor, rel=1e-6)


def impedance(pore, omega, to_potential):
    """Complex impedance of an electrode of unit voxels, whose sides and far end are wall.

    Each face of the wall is a capacitor of 2 behind half a voxel; `to_potential` leads from each first centre to the
    fixed potential.
    """
    reached = ndimage.label(pore)[0]
    reached = np.isin(reached, reached[0][reached[0] > 0])
    number = np.full(pore.shape, -1)
    number[reached] = np.arange(reached.sum())
    wall = 1 / (0.5 + 1 / (2j * omega))
    diagonal, rows, columns = np.zeros(reached.sum(), complex), [], []
    for here in np.argwhere(reached):
        for axis in range(3):
            for step in (-1, 1):
                there = here.copy()
                there[axis] += step
                inside = 0 <= there[axis] < pore.shape[axis]
                if inside and pore[tuple(there)]:
                    rows.append(number[tuple(here)])
                    columns.append(number[tuple(there)])
                    diagonal[rows[-1]] += 1.0
                elif inside or axis > 0 or step == 1:
                    diagonal[number[tuple(here)]] += wall
    first = number[0][reached[0]]
    diagonal[first] += to_potential
    matrix = sp.csc_array((-np.ones(len(rows)), (rows, columns)), shape=(diagonal.size,) * 2) + sp.diags_array(diagonal)
    b = np.zeros(diagonal.size, complex)
    b[first] = to_potential
    return 1 / (to_potential * (1 - splu(sp.csc_array(matrix)).solve(b)[first])).sum()


@pytest.mark.parametrize(
    ("pore", "taufactor"),
    [(channel(10), 0.9860945690532533), (noise(), 1.5733030669751626), (field(), 4.117708171480154)],
    ids=["channel", "noise", "field"],
)
def test_low_frequency_limit_of_an_impedance_that_agrees_with_taufactor(pore, taufactor):
    n, ny, nz = pore.shape
    as_there = 3 * impedance(pore, 1e-6, 1.0).real * pore.mean() * ny * nz / (n + 2)
    assert as_there == pytest.approx(taufactor, rel=1e-6)
    image = image_of(walled(pore))
    # the limit is reached at second order; the two frequencies tell how far it is
    low, lower = (impedance(pore, omega, 2.0).real for omega in (4e-5, 2e-5))
    limit = lower + (lower - low) / 3
    assert resistance(exactly(image), image) == pytest.approx(limit, rel=1e-6)
    assert abs(lower - low) > 10 * abs(resistance(exactly(image), image) - limit)


# what must hold for any image


def some_image(seed=0, shape=(12, 9, 10), voxel_size=(1e-6, 2e-6, 5e-7)):
    labels = np.random.default_rng(seed).choice(3, shape, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    return VoxelImage(labels, voxel_size, PHASES)


def test_turning_the_image_turns_the_axis():
    image = some_image()
    expected = {axis: exactly(image, axis=axis).tau_e for axis in AXES}
    assert len({round(value, 6) for value in expected.values()}) == 3
    for order in ((1, 2, 0), (2, 1, 0)):
        turned = VoxelImage(image.labels.transpose(order), tuple(image.voxel_size[a] for a in order), PHASES)
        for axis in range(3):
            assert exactly(turned, axis=AXES[axis]).tau_e == pytest.approx(expected[AXES[order[axis]]], rel=1e-9)


@pytest.mark.parametrize("axis", AXES)
def test_separator_at_the_other_end(axis):
    image = some_image(1)
    flipped = replace(image, labels=np.flip(image.labels, AXES.index(axis)))
    result = exactly(image, axis=axis, separator="high")
    assert result.tau_e == pytest.approx(exactly(flipped, axis=axis).tau_e, rel=1e-10)
    assert result.tau_e != pytest.approx(exactly(image, axis=axis).tau_e, rel=1e-3)


def test_units_cancel():
    image, k = some_image(2), {"pore": 1.0, "binder": 0.125}
    one = blocking_electrode(image, k, tolerance=EXACT)
    larger = replace(image, voxel_size=tuple(1e3 * h for h in image.voxel_size))
    other = blocking_electrode(larger, {n: 1e-9 * v for n, v in k.items()}, bulk=1e-9, tolerance=EXACT)
    assert other.tau_e == pytest.approx(one.tau_e, rel=1e-9)
    assert other.wall_area == pytest.approx(1e-3 * one.wall_area, rel=1e-12)
    doubled = blocking_electrode(image, {n: 2 * v for n, v in k.items()}, tolerance=EXACT)
    assert doubled.tau_e == pytest.approx(0.5 * one.tau_e, rel=1e-9)


def test_symmetric_cell_is_two_electrodes_in_series():
    """Two electrodes face to face; what enters one leaves the other, and nothing between them is fixed."""
    pore = some_image(3, (6, 7, 5)).labels == 0
    labels = ndimage.label(pore)[0]
    reached = np.isin(labels, labels[0][labels[0] > 0])
    solid = np.pad(~pore, 1)  # beyond the image there is no wall
    faces = sum(np.roll(solid, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (-1, 1)) * reached
    cell, wall = np.concatenate([reached[::-1], reached]), np.concatenate([-faces[::-1], faces])
    number = np.arange(cell.size).reshape(cell.shape)
    laplacian = np.zeros((cell.size, cell.size))
    for axis in range(3):
        low, high = (np.take(number, np.arange(step, cell.shape[axis] - 1 + step), axis).ravel() for step in (0, 1))
        both = cell.ravel()[low] & cell.ravel()[high]
        J = np.eye(cell.size)[low[both]] - np.eye(cell.size)[high[both]]
        laplacian += J.T @ J
    phi = np.linalg.lstsq(laplacian, wall.ravel().astype(float), rcond=None)[0]
    total = (wall.ravel() @ phi + np.abs(wall).sum() / 2) / faces.sum() ** 2  # and half a voxel to each face
    assert total == pytest.approx(2 * resistance(exactly(pore), image_of(pore)), rel=1e-9)


def test_what_the_separator_does_not_reach_counts_by_its_volume_only():
    pore = np.zeros((12, 7, 7), bool)
    pore[:, 2, 2] = True
    apart = pore.copy()
    apart[4:7, 5, 5] = True
    alone, beside = exactly(pore), exactly(apart)
    assert beside.k_eff == pytest.approx(alone.k_eff, rel=1e-10)
    assert beside.wall_area == alone.wall_area
    assert beside.tau_e == pytest.approx(alone.tau_e * 15 / 12, rel=1e-10)
    assert beside.tau_e_connected == pytest.approx(alone.tau_e, rel=1e-10)
    assert beside.connected_fraction == pytest.approx(12 / 15, rel=1e-12)


def test_finer_voxels_of_the_same_pores_converge():
    pore = blobs((8, 8, 8), 0.5, 1.5, np.random.default_rng(4)).labels == 0
    found = []
    for factor in (1, 2, 4):
        finer = pore.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
        found.append(exactly(finer, tolerance=1e-8).tau_e)
    first, second = np.diff(found)
    # corners leave first order and better
    assert abs(second) < 0.7 * abs(first)


def test_a_less_conductive_pore_phase_and_its_porosity():
    image, k = some_image(5), {"pore": 1.0, "binder": 0.125}
    plain = blocking_electrode(image, k, tolerance=EXACT)
    weighed = blocking_electrode(image, k, porosity={"binder": 0.5}, tolerance=EXACT)
    pore, binder = image.volume_fraction("pore"), image.volume_fraction("binder")
    assert weighed.k_eff == plain.k_eff
    assert plain.tau_e == pytest.approx((pore + binder) / plain.k_eff, rel=1e-12)
    assert weighed.tau_e == pytest.approx((pore + 0.5 * binder) / plain.k_eff, rel=1e-12)
    opened = blocking_electrode(image, {"pore": 1.0, "binder": 1.0}, tolerance=EXACT)
    assert opened.k_eff > plain.k_eff
    by_voxel = np.array([1.0, 0.0, 0.125])[image.labels]
    assert blocking_electrode(image, by_voxel, tolerance=EXACT).k_eff == pytest.approx(plain.k_eff, rel=1e-9)


# area of the wall


def test_smooth_area_leaves_flat_walls_alone():
    slit = np.zeros((10, 12, 12), bool)
    slit[:, 4:8] = True
    assert exactly(slit, area="smooth").tau_e == pytest.approx(exactly(slit).tau_e, rel=1e-9)
    assert exactly(slit, area="smooth").wall_area == pytest.approx(2 / 12e-6, rel=1e-9)


def test_a_surface_that_leans_is_smaller_and_nearer_than_its_faces(monkeypatch):
    """At 60 degrees the area is half of the faces', and the half voxel to the wall half as long."""
    leaning = lambda inside, voxel_size, low, high, axis: FaceCosines(np.full(axis.size, 0.5), 0)  # noqa: E731, ARG005
    monkeypatch.setattr(blocking, "face_cosines", leaning)
    plain, leaning = exactly(channel(5)), exactly(channel(5), area="smooth")
    assert leaning.wall_area == pytest.approx(0.5 * plain.wall_area, rel=1e-12)
    to_wall = 1 / (8 * 5)  # of the straight channel's resistance
    assert leaning.tau_e == pytest.approx(plain.tau_e - 3 / 5 * to_wall / 2, rel=1e-10)


def test_smooth_area_of_a_round_channel():
    """Voxel faces overrate the circumference of a circle by 4 / pi; the wall is uniform, so that tau_e hardly moves."""
    y = np.arange(40) - 19.7
    pore = np.broadcast_to(y[:, None] ** 2 + y**2 < 12.0**2, (20, 40, 40))
    plain, smooth = exactly(pore), exactly(pore, area="smooth")
    circumference = 2 * np.pi * 12.0 / 40**2 / 1e-6
    assert plain.wall_area == pytest.approx(4 / np.pi * circumference, rel=0.02)
    assert smooth.wall_area == pytest.approx(circumference, rel=0.02)
    assert smooth.tau_e != plain.tau_e
    assert smooth.tau_e == pytest.approx(plain.tau_e, rel=0.05)


# accuracy as told, and no number where there is none


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_resistance_is_too_small_by_no_more_than_its_estimate(tolerance):
    image = blobs((24, 20, 22), 0.45, 1.5, np.random.default_rng(0))
    exact = blocking_electrode(image, PORE, tolerance=EXACT)
    result = blocking_electrode(image, PORE, tolerance=tolerance)
    missing = 1 - exact.k_eff / result.k_eff
    assert -EXACT <= missing <= result.error_estimate + EXACT
    assert result.error_estimate <= tolerance
    assert result.flux_imbalance <= 2 * np.sqrt(tolerance)
    assert exact.iterations > result.iterations


def test_threads_change_no_bit():
    image = some_image(6, (16, 15, 14))
    one, two = (blocking_electrode(image, PORE, threads=threads) for threads in (1, 2))
    assert replace(one, wall_s=0.0) == replace(two, wall_s=0.0)


def test_nothing_at_the_separator():
    pore = channel(6)
    pore[0] = False
    result = exactly(pore)
    assert (result.tau_e, result.tau_e_connected, result.k_eff, result.connected_fraction) == (None, None, 0.0, 0.0)
    assert exactly(pore, separator="high").connected_fraction == 1.0
    assert exactly(np.zeros((3, 3, 3), bool)).tau_e is None


def test_no_wall_is_refused():
    with pytest.raises(ImpossibleError, match=r"separator = 'low'.*no wall to charge"):
        exactly(np.ones((3, 3, 3), bool))


@pytest.mark.parametrize("change", [{"status": LinearStatus.STAGNATION}, {"fluxes": {0: (2.0, 0.0)}}])
def test_no_number_comes_out_of_a_failed_check(monkeypatch, change):
    solve = blocking.solve_grid
    monkeypatch.setattr(blocking, "solve_grid", lambda *args, **kwargs: replace(solve(*args, **kwargs), **change))
    with pytest.raises(NotConvergedError, match="blocking electrode did not reach"):
        blocking_electrode(some_image(), PORE)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"axis": "w"}, "x, y, z"),
        ({"separator": "left"}, "low, high"),
        ({"area": "true"}, "voxel, smooth"),
        ({"bulk": 0.0}, "bulk"),
        ({"tolerance": 1e-15}, "tolerance"),
        ({"tolerance": np.nan}, "tolerance"),
        ({"threads": 0}, "threads"),
        ({"porosity": {"active": 0.5}}, "does not conduct"),
        ({"conductivity": {"pores": 1.0}}, "pore, active, binder"),
        ({"conductivity": {}}, "nothing conducts"),
    ],
)
def test_bad_settings_are_refused(options, match):
    with pytest.raises(CaseError, match=match):
        blocking_electrode(some_image(), **{"conductivity": PORE, **options})
