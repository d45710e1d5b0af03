import re
from math import sqrt

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtri

from battsim.errors import CaseError
from battsim.post.transport import integral_range
from battsim.post.transport.integral_range import half_width, mean_error, weighted
from meshing.generate import site_noise
from meshing.image import VoxelImage

UNIT = (1.0, 1.0, 1.0)
PHASES = ("pore", "active", "binder")
PORE = {"pore": 1.0}


def image_of(solid, voxel_size=UNIT):
    return VoxelImage(np.ascontiguousarray(solid).astype(np.uint8), voxel_size, PHASES)


def random_voxels(shape, fraction, seed, voxel_size=UNIT):
    """Each voxel on its own, so that the number of pore voxels is binomial."""
    return image_of(np.random.default_rng(seed).random(shape) >= fraction, voxel_size)


def material(n, width, fraction, seed):
    """Blobs cut at the level of the fraction, not at the quantile of the sample: the fraction of a part may vary."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((n, n, n)), width, mode="wrap")
    return field / field.std() > ndtri(fraction)


def parts_of(solid, edge):
    """Images of one material, cut side by side."""
    n = solid.shape[0] // edge
    return [
        image_of(solid[i * edge : (i + 1) * edge, j * edge : (j + 1) * edge, k * edge : (k + 1) * edge])
        for i, j, k in np.ndindex(n, n, n)
    ]


# known statistics


@pytest.mark.parametrize("fraction", [0.5, 0.1])
@pytest.mark.parametrize("voxel_size", [UNIT, (1e-6, 2e-6, 5e-7)])
def test_independent_voxels_are_binomial(fraction, voxel_size):
    found = mean_error(random_voxels((36, 40, 30), fraction, 0, voxel_size), PORE)
    deviation = sqrt(fraction * (1 - fraction) / (36 * 40 * 30))
    # the window holds tens of lags, each with a covariance of 1/sqrt(V): 5 % of the deviation
    assert found.deviation == pytest.approx(deviation, rel=0.1)
    assert found.integral_range == pytest.approx(np.prod(voxel_size), rel=0.2)
    assert found.relative_error == pytest.approx(1.96 * deviation / found.mean, rel=0.1)


def test_cubes_of_independent_voxels_have_the_cubes_volume():
    """A = 4^3: the correlation is a triangle of width 4 along each axis, whose integral is 4."""
    solid = np.repeat(np.repeat(np.repeat(np.random.default_rng(2).random((20, 20, 20)) < 0.5, 4, 0), 4, 1), 4, 2)
    found = mean_error(image_of(solid), PORE)
    assert found.integral_range == pytest.approx(64.0, rel=0.25)  # two deviations at its degrees of freedom


def test_interval_holds_the_fraction_as_often_as_it_says():
    """Blobs of 64 images of 40 voxels: their volume fractions spread by as much as each of them predicts alone."""
    found = [mean_error(part, PORE) for part in parts_of(material(160, 1.5, 0.4, 1), 40)]
    means = np.array([each.mean for each in found])
    held = [abs(each.mean - 0.4) <= each.relative_error * each.mean for each in found]
    # 95 of 100 asked for; fewer than 56 of 64 have a probability of 0.5 %, as binomial
    assert sum(held) >= 56
    # each of the two has a relative deviation of 0.09
    assert np.mean([each.deviation for each in found]) == pytest.approx(means.std(ddof=1), rel=0.25)


def test_elongated_blobs():
    field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((160, 160, 160)), (4, 1, 1), mode="wrap")
    found = [mean_error(part, PORE) for part in parts_of(field / field.std() > ndtri(0.4), 40)]
    means = np.array([each.mean for each in found])
    assert np.mean([each.deviation for each in found]) == pytest.approx(means.std(ddof=1), rel=0.25)


# against sums over pairs of voxels


def deviation_over_pairs(pore, size):
    """s and degrees of freedom from all pairs of voxels up to half the image apart, shell by shell of voxel width."""
    field, n = pore - pore.mean(), np.array(pore.shape)
    products, pairs, shell, along = [], [], [], {}
    for lag in np.ndindex(*(2 * (n // 2) + 1)):
        r = np.array(lag) - n // 2
        first, second = (
            tuple(slice(max(0, q), m + min(0, q)) for q, m in zip(sign * r, n, strict=True)) for sign in (1, -1)
        )
        products.append(float(np.sum(field[first] * field[second])))
        pairs.append(field[first].size)
        shell.append(round(float(np.sqrt(np.sum((r * size) ** 2))) / min(size)))
        if np.count_nonzero(r) <= 1 and r.min() >= 0:
            along[tuple(r)] = products[-1] / pairs[-1] / field.var()
    products, w, shell = np.array(products), np.array(pairs) / field.size, np.array(shell)
    for radius in range(1, max(n) // 2 + 1):
        inside = shell <= radius
        square = products[inside].sum() / field.size / (field.size - w[inside].sum())
        ball = 3 * square * field.size / (4 * np.pi * field.var())
        decayed = all(along[tuple(min(radius, n[a] // 2) * np.eye(3, dtype=int)[a])] <= 0.1 for a in range(3))
        if decayed and square > 0 and radius >= 2 * max(ball, 3 / (4 * np.pi)) ** (1 / 3):
            return np.sqrt(square), field.size / np.sum(w[inside] ** 2)
    raise AssertionError("the test image is too small")


def test_small_image_agrees_with_sums_over_pairs():
    solid = parts_of(material(48, 1.2, 0.4, 10), 16)[5].labels
    found = mean_error(image_of(solid), PORE)
    deviation, freedom = deviation_over_pairs(1.0 - solid, np.ones(3))
    assert found.deviation == pytest.approx(deviation, rel=1e-4)  # single precision
    assert found.degrees_of_freedom == pytest.approx(freedom, rel=1e-10)


# symmetries and limits


def test_weights_scale_the_deviation_and_not_its_relative_error():
    image = parts_of(material(40, 1.5, 0.4, 4), 40)[0]
    whole, half = mean_error(image, PORE), mean_error(image, {"pore": 0.5})
    assert half.mean == pytest.approx(0.5 * whole.mean, rel=1e-6)
    assert half.deviation == pytest.approx(0.5 * whole.deviation, rel=1e-5)  # single precision
    assert half.relative_error == pytest.approx(whole.relative_error, rel=1e-5)
    assert half.integral_range == pytest.approx(whole.integral_range, rel=1e-5)


def test_complement_has_the_same_deviation():
    image = parts_of(material(40, 1.5, 0.4, 4), 40)[0]
    pore, solid = mean_error(image, PORE), mean_error(image, {"active": 1.0, "binder": 1.0})
    assert solid.mean == pytest.approx(1.0 - pore.mean, rel=1e-6)
    assert solid.deviation == pytest.approx(pore.deviation, rel=1e-5)


def test_blocks_of_large_images_keep_the_deviation(monkeypatch):
    image = parts_of(material(64, 2.0, 0.5, 5), 64)[0]
    fine = mean_error(image, PORE)
    monkeypatch.setattr(integral_range, "LARGEST", 32)
    coarse = mean_error(image, PORE)
    assert coarse.deviation == pytest.approx(fine.deviation, rel=0.1)  # the ball ends between other lags
    assert coarse.deviation != fine.deviation
    radius = [float(re.search(r"up to (\S+) m", each.reason)[1]) for each in (fine, coarse)]
    assert radius[1] == pytest.approx(radius[0], abs=2.0)  # a block


def test_wider_confidence_is_a_wider_interval():
    image = random_voxels((24, 24, 24), 0.5, 6)
    narrow, wide = (mean_error(image, PORE, confidence=c) for c in (0.5, 0.99))
    assert narrow.deviation == wide.deviation
    assert wide.relative_error / narrow.relative_error == pytest.approx(2.576 / 0.674, rel=0.02)


def test_half_width_is_students_t():
    assert half_width(7, 0.95) == pytest.approx(2.3646, abs=1e-4)
    assert half_width(1e9, 0.95) == pytest.approx(1.9600, abs=1e-4)


def test_image_of_one_layer():
    found = mean_error(random_voxels((200, 200, 1), 0.3, 7), PORE)
    assert found.deviation == pytest.approx(sqrt(0.21) / 200, rel=0.1)


# where there is no answer


@pytest.mark.parametrize("shape", [(40, 1, 1), (1, 40, 40)])
def test_layers_and_columns_are_correlated_throughout(shape):
    solid = np.broadcast_to(np.random.default_rng(8).random(shape) < 0.5, (40, 40, 40))
    found = mean_error(image_of(solid), PORE)
    assert (found.deviation, found.relative_error, found.integral_range) == (None, None, None)
    assert "correlated over half" in found.reason
    assert found.mean == pytest.approx(1.0 - solid.mean(), rel=1e-6)


def test_uniform_image_tells_nothing():
    found = mean_error(image_of(np.zeros((8, 8, 8))), PORE)
    assert (found.mean, found.deviation, found.relative_error) == (1.0, None, None)
    assert "all voxels are the same" in found.reason


def test_bad_input_is_refused():
    image = site_noise((8, 8, 8), 0.5, np.random.default_rng(9))
    with pytest.raises(CaseError, match=r"confidence = 95.*between 0 and 1"):
        mean_error(image, PORE, confidence=95)
    with pytest.raises(CaseError, match="no phase named 'void'; choose from pore, active"):
        weighted(image, {"void": 1.0})
