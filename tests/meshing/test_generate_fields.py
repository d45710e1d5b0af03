import numpy as np
import pytest
from scipy.special import ndtri

from meshing.errors import MeshError
from meshing.generate import constant, correlation, cut_field, exponential, gaussian, peaked, random_field
from meshing.profile import Profile

UM = 1e-6
CUBE = (UM, UM, UM)


def field(seed=1, *, shape=(80, 80, 80), voxel=CUBE, lengths=(4 * UM,) * 3, density=gaussian):
    return random_field(shape, voxel, lengths, density, np.random.default_rng(seed))


def mean_correlation(axis, n=12, seeds=4, **options):
    return np.mean([correlation(field(seed, **options), axis)[:n] for seed in range(seeds)], axis=0)


@pytest.mark.parametrize("lengths", [(4.0, 4.0, 4.0), (3.0, 4.0, 8.0)])
def test_the_correlation_is_that_of_the_spectral_density(lengths):
    lag = np.arange(12)
    for axis, length in enumerate(lengths):
        found = mean_correlation(axis, lengths=tuple(a * UM for a in lengths))
        # four images of some 10^3 features each
        np.testing.assert_allclose(found, np.exp(-((lag / length) ** 2)), atol=0.03)


def test_an_exponential_correlation_but_for_what_voxels_cut_off():
    found = mean_correlation(0, density=exponential, shape=(96, 96, 96))
    # waves shorter than two voxels are missing, so that all later lags have a larger share of the variance
    np.testing.assert_allclose(found[2:] / found[2], np.exp(-np.arange(10) / 4), atol=0.04)
    assert 1.0 < found[2] / np.exp(-0.5) < 1.15


def test_a_peak_makes_waves_of_its_length():
    found = mean_correlation(1, n=30, shape=(96, 96, 96), density=peaked(0.2))
    q, r = np.linspace(0.01, 3, 3000)[:, None], np.arange(30) / 4
    # isotropic: rho = int q^2 S sin(q r)/(q r) dq / int q^2 S dq
    weight = q**2 * np.exp(-0.5 * ((q - 1) / 0.2) ** 2)
    exact = np.sum(weight * np.sinc(q * r / np.pi), axis=0) / np.sum(weight)
    assert exact.min() < -0.12
    np.testing.assert_allclose(found, exact, atol=0.03)


def test_lengths_are_metres_and_not_voxels():
    flat = mean_correlation(2, shape=(80, 80, 40), voxel=(UM, UM, 2 * UM), n=6)
    np.testing.assert_allclose(flat, np.exp(-((np.arange(6) * 2 / 4) ** 2)), atol=0.03)


def test_mean_variance_and_distribution_are_those_of_a_gaussian():
    values = np.stack([field(seed, lengths=(3 * UM,) * 3) for seed in range(4)]).ravel()
    assert values.mean() == pytest.approx(0, abs=1e-5)
    assert values.std() == pytest.approx(1, abs=0.02)
    for share in (0.1, 0.3, 0.9):
        assert np.quantile(values, share) == pytest.approx(ndtri(share), abs=0.05)


@pytest.mark.parametrize("shape", [(30, 31, 32), (31, 32, 33), (16, 40, 21)])
def test_even_and_odd_edges_have_the_same_variance(shape):
    spread = [np.std(field(seed, shape=shape, lengths=(1.5 * UM,) * 3)) for seed in range(10)]
    assert np.mean(spread) == pytest.approx(1, abs=0.02)


def cut(seed=1, *, shape=(60, 60, 60), active=0.5, lengths=(4 * UM,) * 3, **options):
    profile = active if isinstance(active, Profile) else constant(active)
    return cut_field(shape, CUBE, profile, lengths, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("active", [0.2, 0.5, 0.65])
def test_fractions_are_met_to_one_voxel(active):
    made = cut(active=active)
    assert made.image.phases == ("pore", "active", "binder")
    assert np.count_nonzero(made.image.labels == 1) == round(active * 60**3)
    assert made.level == pytest.approx(-ndtri(active), abs=0.1)


def test_two_point_probability_of_the_cut_is_the_arcsine_of_the_correlation():
    lag = np.arange(1, 10)
    found = np.zeros(9)
    for seed in range(4):
        active = cut(seed, shape=(80, 80, 80)).image.labels == 1
        found += [np.mean(active & np.roll(active, step, axis=0)) / 4 for step in lag]
    np.testing.assert_allclose(found, 0.25 + np.arcsin(np.exp(-((lag / 4) ** 2))) / (2 * np.pi), atol=0.008)


def test_flattened_fields_make_flattened_particles():
    labels = cut(lengths=(3 * UM, 9 * UM, 9 * UM)).image.labels
    faces = [np.count_nonzero(np.diff(labels.astype(np.int8), axis=axis)) for axis in range(3)]
    # the area seen along an axis goes with one over the length there (Rice)
    assert faces[0] / faces[1] == pytest.approx(3, rel=0.1)
    assert faces[1] / faces[2] == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("stepped", [False, True])
def test_a_gradient_is_met_at_every_depth(stepped):
    profile = Profile((0.3, 0.5, 0.6), stepped)
    images = [cut(seed, shape=(60, 96, 96), active=profile).image for seed in range(4)]
    found = np.mean([np.mean(image.labels == 1, axis=(1, 2)) for image in images], axis=0)
    np.testing.assert_allclose(found.reshape(12, 5).mean(1), profile.of_slices(60).reshape(12, 5).mean(1), atol=0.03)
    assert found.mean() == pytest.approx(np.mean(profile.of_slices(60)), abs=1e-4)


def test_the_seed_alone_decides():
    assert cut(3).image.labels.tobytes() == cut(3).image.labels.tobytes()
    assert np.mean(cut(3).image.labels == cut(4).image.labels) < 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": 1.0}, "active_volume_fraction is 1"),
        ({"lengths": (4 * UM, 0.5 * UM, 4 * UM)}, "along axis y is 5e-07 m; it must be at least a voxel"),
        ({"lengths": (4 * UM, 4 * UM, 31 * UM)}, "along axis z is 3.1e-05 m; .* at most 1/2 of the image's edge"),
        ({"density": lambda square: -square}, "spectral density is negative"),
        ({"density": lambda square: 0 * square}, "zero on all waves"),
    ],
)
def test_impossible_fields_are_refused_with_a_way_out(options, message):
    with pytest.raises(MeshError, match=message):
        cut(**options)
