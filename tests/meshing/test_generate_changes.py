"""Calendering, erosion and dilation, channels."""

import numpy as np
import pytest
from scipy import ndimage

from battsim.post.transport import effective_transport
from meshing.errors import LabelError, MeshError, PackingError
from meshing.generate import (
    BinderShape,
    ChannelShape,
    ParticleForm,
    add_binder,
    calender,
    channel_mask,
    constant,
    cut_channels,
    cut_field,
    dilate,
    ellipsoids,
    erode,
)
from meshing.image import VoxelImage
from meshing.particles import particles, radii

UM = 1e-6
CUBE = (UM, UM, UM)


def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def electrode():
    form = ParticleForm(constant(8 * UM), 0.2)
    image = ellipsoids((64, 48, 48), CUBE, constant(0.5), form, rng()).image
    return add_binder(image, constant(0.05), BinderShape(2 * UM, 0.5, "cluster", 6 * UM), rng()).image


@pytest.mark.parametrize("porosity", [0.4, 0.3, 0.22])
def test_calendering_reaches_the_porosity_and_keeps_the_solid(electrode, porosity):
    made = calender(electrode, porosity, rng())
    # the number of slices is whole
    assert made.porosity == pytest.approx(porosity, abs=0.5 * (1 - porosity) / made.image.shape[0])
    for phase in ("active", "binder"):
        assert np.count_nonzero(made.image.mask(phase)) == np.count_nonzero(electrode.mask(phase))
    assert made.image.shape[1:] == electrode.shape[1:]
    assert made.strain == pytest.approx(1 - made.image.shape[0] / 64)
    assert made.image.voxel_size == electrode.voxel_size
    assert made.laid_again < 0.05


def test_particles_are_moved_and_not_squashed(electrode):
    made = calender(electrode, 0.3, rng())
    squashed = ndimage.zoom(electrode.labels, (made.image.shape[0] / 64, 1, 1), order=0)
    faces = {}
    for name, labels in {"before": electrode.labels, "pressed": made.image.labels, "squashed": squashed}.items():
        inside = (labels == 1).astype(np.int8)
        faces[name] = [np.count_nonzero(np.diff(inside, axis=axis)) / inside.sum() for axis in (0, 1)]
    # area across the pressing direction over that along it, per volume: squashing raises it by 1/0.79
    ratio = {name: across / along for name, (across, along) in faces.items()}
    assert ratio["squashed"] / ratio["before"] == pytest.approx(64 / made.image.shape[0], rel=0.05)
    assert ratio["pressed"] / ratio["before"] == pytest.approx(1, abs=0.06)
    sizes = [np.median(radii(*particles(i.mask("active"), CUBE), 1.0)) for i in (electrode, made.image)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
    assert made.sideways > 0.3 * UM


def test_calendering_raises_tortuosity_and_pressing_twice_is_pressing_once(electrode):
    half, once = calender(electrode, 0.38, rng()), calender(electrode, 0.3, rng())
    twice = calender(half.image, 0.3, rng())
    taus = [effective_transport(i, {"pore": 1.0}, axis="x", threads=1).tau for i in (electrode, half.image, once.image)]
    assert taus[0] < 0.9 * taus[1] < 0.9 * 0.9 * taus[2]
    assert twice.image.shape == once.image.shape
    again = effective_transport(twice.image, {"pore": 1.0}, axis="x", threads=1).tau
    assert again == pytest.approx(taus[2], rel=0.12)


def test_calendering_packs_a_stack_of_separate_balls():
    # a column of balls with gaps: they move together until they touch, and nothing is laid again
    at = np.stack(np.meshgrid(np.arange(60), np.arange(20), np.arange(20), indexing="ij"), -1) + 0.5
    labels = np.zeros((60, 20, 20), np.uint8)
    for x in (10, 30, 50):
        labels[np.linalg.norm(at - [x, 10, 10], axis=-1) < 6] = 1
    image = VoxelImage(labels, CUBE, ("pore", "active"))
    volume = np.count_nonzero(labels)
    made = calender(image, 1 - volume / (40 * 400), rng())
    assert made.image.shape == (40, 20, 20)
    assert made.particles == 3
    assert made.laid_again == 0.0
    found, count = ndimage.label(made.image.labels)
    places = np.array(ndimage.center_of_mass(made.image.labels, found, range(1, count + 1)))
    gaps = np.diff(np.sort(places[:, 0]))
    assert np.all(gaps >= 11)
    assert np.count_nonzero(made.image.labels) == volume


def test_what_cannot_be_calendered_says_so(electrode):
    with pytest.raises(
        MeshError, match=r"to reach by calendering is 0.5, and the image has 0.45; pressing only lowers"
    ):
        calender(electrode, 0.5, rng())
    with pytest.raises(PackingError, match=r"about 0\.[012][0-9] was reached: choose a porosity above it") as caught:
        calender(electrode, 0.01, rng())
    assert 0.02 < caught.value.reached < 0.25
    reached = calender(electrode, caught.value.reached + 0.03, rng())
    assert reached.laid_again <= 0.06
    with pytest.raises(MeshError, match="needs phases pore and active"):
        calender(VoxelImage(electrode.labels, CUBE, ("void", "active", "binder")), 0.3, rng())


def test_calendering_is_reproducible(electrode):
    one, same = (calender(electrode, 0.3, rng()).image.labels for _ in range(2))
    assert one.tobytes() == same.tobytes()


def ball(radius=10.0, n=40):
    at = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) - (n - 1) / 2
    return VoxelImage((np.linalg.norm(at, axis=-1) < radius).astype(np.uint8), CUBE, ("pore", "active"))


@pytest.mark.parametrize(("change", "radius"), [(dilate, 13.0), (erode, 7.0)])
def test_a_ball_stays_a_ball(change, radius):
    fraction = 4 / 3 * np.pi * radius**3 / 40**3
    made = change(ball(), "active", fraction, rng())
    assert np.count_nonzero(made.image.labels) == round(fraction * 40**3)
    expected = ball(radius).labels
    # the two differ by a tenth of the outermost voxels, which are 3/7 of the smaller ball
    assert np.mean(made.image.labels != expected) < 0.045 * np.mean(expected)
    assert made.distance == pytest.approx(3 * UM, abs=0.8 * UM)
    assert made.changed == pytest.approx(abs(fraction - np.mean(ball().labels)), abs=1e-4)


def test_eroding_and_dilating_only_touch_the_two_phases(electrode):
    grown = dilate(electrode, "active", 0.6, rng())
    assert np.array_equal(grown.image.mask("binder"), electrode.mask("binder"))
    assert np.all(grown.image.mask("active")[electrode.mask("active")])
    shrunk = erode(electrode, "active", 0.4, rng(), other="binder")
    assert np.array_equal(shrunk.image.mask("pore"), electrode.mask("pore"))
    assert np.all(electrode.mask("active")[shrunk.image.mask("active")])
    assert shrunk.volume_fractions["binder"] == pytest.approx(0.15, abs=1e-4)


def test_flat_surfaces_are_worn_off_everywhere_alike():
    labels = np.zeros((10, 40, 40), np.uint8)
    labels[:5] = 1
    half = erode(VoxelImage(labels, CUBE, ("pore", "active")), "active", 0.45, rng()).image.labels
    assert set(np.nonzero(half[4] == 0)[0]) == set(range(40))
    quarters = [np.mean(half[4, a : a + 20, b : b + 20]) for a in (0, 20) for b in (0, 20)]
    # 400 voxels each: the standard deviation is 0.025
    np.testing.assert_allclose(quarters, 0.5, atol=0.1)


def test_flat_voxels_count_in_metres():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[8:12, 8:12, 8:12] = 1
    image = VoxelImage(labels, (UM, UM, 3 * UM), ("pore", "active"))
    grown = dilate(image, "active", 2 * 64 / 8000, rng()).image.labels
    assert set(np.nonzero(grown)[2]) == {8, 9, 10, 11}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (dilate, ("active", 0.4), "volume fraction of 0.5 already, above 0.4; dilation only makes it larger"),
        (erode, ("active", 0.6), "volume fraction of 0.5 only, below 0.6; erosion only makes it smaller"),
        (dilate, ("active", 0.99), r"only \d+ are there; with all of them it would reach 0.95"),
        (dilate, ("active", 1.5), "volume_fraction is 1.5"),
        (dilate, ("pore", 0.7, "pore"), "cannot give way to itself"),
    ],
)
def test_impossible_changes_are_refused_with_a_way_out(electrode, change, options, message):
    phase, fraction, *other = options
    with pytest.raises(MeshError, match=message):
        change(electrode, phase, fraction, rng(), **({"other": other[0]} if other else {}))


def test_unknown_phases_are_refused(electrode):
    with pytest.raises(LabelError, match="no phase named 'carbon'; it has pore, active, binder"):
        dilate(electrode, "carbon", 0.6, rng())


SLAB = VoxelImage(np.ones((50, 80, 60), np.uint8), CUBE, ("pore", "active"))


@pytest.mark.parametrize("bottom", [1.0, 0.5, 0.0])
def test_grooves_have_the_volume_of_their_shape(bottom):
    made = cut_channels(SLAB, ChannelShape("lines", 8 * UM, 20 * UM, 30 * UM, bottom))
    exact = 0.5 * (1 + bottom) * 8 / 20 * 30 / 50
    assert made.channel_fraction == pytest.approx(exact, rel=0.05)
    assert made.porosity == pytest.approx(made.channel_fraction)
    assert made.removed == {"active": pytest.approx(made.channel_fraction)}
    assert not (made.image.labels[30:] == 0).any()
    # straight along axis 1, three of them along axis 2
    assert np.array_equal(made.image.labels[:, 0], made.image.labels[:, 79])
    assert ndimage.label(made.image.labels[0, 0] == 0)[1] == 3


@pytest.mark.parametrize(("pattern", "per_area"), [("square", 1.0), ("hexagonal", 2 / np.sqrt(3))])
def test_holes_have_the_density_of_their_pattern(pattern, per_area):
    # 69 and 80 voxels are whole periods of both: 2 sqrt(3) 20 = 69.3
    slab = VoxelImage(np.ones((10, 69 if pattern == "hexagonal" else 80, 80), np.uint8), CUBE, ("pore", "active"))
    made = cut_channels(slab, ChannelShape(pattern, 10 * UM, 20 * UM, 10 * UM))
    assert made.channel_fraction == pytest.approx(per_area * np.pi * 25 / 400, rel=0.04)


def test_cones_narrow_towards_their_bottom():
    mask = channel_mask(SLAB, ChannelShape("square", 16 * UM, 20 * UM, 40 * UM, 0.25))
    areas = mask.mean(axis=(1, 2))
    assert areas[0] == pytest.approx(np.pi * 8**2 / 400, rel=0.06)
    assert areas[39] == pytest.approx(np.pi * 2**2 / 400, rel=0.25)
    assert np.all(np.diff(areas) <= 0)
    assert areas[40:].max() == 0


def test_channels_shorten_the_way_through(electrode):
    cut = cut_channels(electrode, ChannelShape("lines", 8 * UM, 48 * UM, 60 * UM))
    tau = [effective_transport(image, {"pore": 1.0}, axis="x", threads=1).tau for image in (electrode, cut.image)]
    assert tau[1] < 0.75 * tau[0]
    assert cut.removed["active"] == pytest.approx(8 / 48 * 60 / 64, rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 60 * UM}, "depth is 6e-05 m and the electrode 5e-05 m thick"),
        ({"width": 0.5 * UM}, "at least a voxel and below the pitch"),
        ({"width": 20 * UM}, "at least a voxel and below the pitch"),
        ({"pitch": 100 * UM}, "pitch is 0.0001 m and the image 6e-05 m wide"),
        ({"bottom": 1.5}, "bottom is 1.5"),
    ],
)
def test_impossible_channels_are_refused_with_a_way_out(options, message):
    values = {"pattern": "lines", "width": 8 * UM, "pitch": 20 * UM, "depth": 30 * UM} | options
    with pytest.raises(MeshError, match=message):
        cut_channels(SLAB, ChannelShape(**values))


def taus(image):
    return [effective_transport(image, {"pore": 1.0}, axis=axis, threads=1).tau for axis in "xyz"]


def test_tortuosity_rises_through_the_plane_and_falls_in_it_as_particles_flatten():
    """Five seeds, all one way: chance would do that in one of 32 cases."""
    for seed in range(5):
        through, across = [], []
        for flat in (1.0, 0.6, 0.35):
            form = ParticleForm(constant(8 * UM), 0.2, (flat, 1.0, 1.0), 1.0)
            x, y, z = taus(ellipsoids((48,) * 3, CUBE, constant(0.55), form, np.random.default_rng(seed)).image)
            through.append(x)
            across.append(0.5 * (y + z))
        assert through[0] < through[1] < through[2]
        assert across[0] > across[1] > across[2]


def test_the_same_holds_for_irregular_particles():
    for seed in range(5):
        lengths = [(4 * UM,) * 3, (2.5 * UM, 5 * UM, 5 * UM)]
        round_, flat = (
            taus(cut_field((48,) * 3, CUBE, constant(0.5), length, np.random.default_rng(seed)).image)
            for length in lengths
        )
        assert flat[0] > round_[0]
        assert flat[1] + flat[2] < round_[1] + round_[2]
