import itertools

import numpy as np
import pytest

from meshing.connect import percolation, touching
from meshing.errors import MeshError
from meshing.generate import Spheres, blobs, draw_diameters, pack, site_noise, smallest, spheres, surface_distances
from meshing.measure import measure_active
from meshing.voxel import voxel_mesh

UM = 1e-6
CUBE = (UM, UM, UM)


def electrode(seed=1, *, shape=(60, 20, 20), voxel=CUBE, active=0.5, binder=0.1, median=8 * UM, sigma=0.3, **options):
    return spheres(shape, voxel, active, binder, median, sigma, np.random.default_rng(seed), **options)


def periodic_distances(packing):
    """Distances between the centres of all pairs by their nearest images, and the sums of their radii."""
    i, j = np.triu_indices(packing.radius.size, 1)
    vector = np.abs(packing.centre[i] - packing.centre[j])
    vector = np.minimum(vector, np.asarray(packing.box) - vector)
    return np.linalg.norm(vector, axis=1), packing.radius[i] + packing.radius[j]


def distances_of(seed, active, sigma):
    """Both surface distances of the spheres behind `electrode`, drawn and packed again."""
    rng = np.random.default_rng(seed)
    box = (60 * UM, 20 * UM, 20 * UM)
    packing = pack(0.5 * draw_diameters(box, active, 8 * UM, sigma, rng), box, 0.05, rng)
    return surface_distances(packing, (60, 20, 20), 32 * UM)


@pytest.mark.parametrize("active", [0.4, 0.5, 0.65])
@pytest.mark.parametrize("binder", [0.0, 0.1])
def test_volume_fractions_are_met_to_one_voxel(active, binder):
    image = electrode(active=active, binder=binder)
    assert image.phases == ("pore", "active", "binder")
    counts = np.bincount(image.labels.ravel(), minlength=3)
    assert counts[1] == round(active * 24000)
    assert counts[2] == round(binder * 24000)


def test_the_seed_alone_decides():
    assert electrode(7).labels.tobytes() == electrode(7).labels.tobytes()
    # two independent images agree in 0.5^2 + 0.1^2 + 0.4^2 = 0.42 of their voxels
    assert np.mean(electrode(7).labels == electrode(8).labels) < 0.6


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_default_electrode_conducts_salt_and_electrons(seed):
    image = electrode(seed)
    assert percolation(image.mask("pore")).percolating.x > 0.95
    assert percolation(image.mask("pore", "binder")).percolating.x > 0.95
    assert percolation(image.mask("active", "binder")).percolating.x > 0.95
    connected = touching(image.mask("active", "binder"), 0, ("high",))
    assert np.mean(connected[image.mask("active")]) > 0.95


def test_a_thin_active_fraction_stays_connected():
    image = electrode(active=0.4)
    connected = touching(image.mask("active", "binder"), 0, ("high",))
    assert np.mean(connected[image.mask("active")]) > 0.95


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5])
def test_sizes_are_lognormal_by_volume(sigma):
    box = (200 * UM, 200 * UM, 200 * UM)
    diameter = draw_diameters(box, 0.5, 8 * UM, sigma, np.random.default_rng(1))
    assert diameter.size > 5000
    below = np.cumsum(diameter**3) / np.sum(diameter**3)
    # one draw per equal part of the distribution: sampling noise is far below that of independent draws
    median = diameter[np.searchsorted(below, 0.5)]
    assert median == pytest.approx(8 * UM, rel=0.02)
    assert np.sum(diameter**3) / np.sum(diameter**2) == pytest.approx(8 * UM * np.exp(-(sigma**2) / 2), rel=0.02)
    assert np.sum(np.pi / 6 * diameter**3) / np.prod(box) == pytest.approx(0.5, rel=1e-12)


def test_the_image_has_the_sizes_that_were_asked_for():
    recipe = {"shape": (64, 64, 64), "voxel": (0.5 * UM,) * 3, "active": 0.45, "binder": 0.0}
    touching_only, necked = (electrode(**recipe, overlap=overlap) for overlap in (0.0, 0.05))
    radii = [
        measure_active(image, voxel_mesh(image, inside="active")).sauter_radius_m for image in (touching_only, necked)
    ]
    exact = 4 * UM * np.exp(-(0.3**2) / 2)
    # voxels close narrow gaps: 5 % here, 1 % with voxels of half the edge
    assert radii[0] == pytest.approx(exact, rel=0.07)
    # each of four or five necks hides 2.5 % of a particle's surface
    assert 1.08 < radii[1] / radii[0] < 1.2


def test_spheres_touch_and_hardly_overlap():
    box = (60 * UM, 60 * UM, 60 * UM)
    rng = np.random.default_rng(2)
    packing = pack(0.5 * draw_diameters(box, 0.5, 8 * UM, 0.3, rng), box, 0.05, rng)
    assert np.all((packing.centre >= 0) & (packing.centre < box))
    distance, contact = periodic_distances(packing)
    overlap = 1 - distance / contact
    # a last few pairs are still being pushed: 0.01 beyond what is allowed
    assert overlap.max() < 0.06
    # a network in space; spread out and not drawn together again they have 0.1
    assert 2 * np.count_nonzero(overlap > 0) / packing.radius.size > 3.3


def test_distances_agree_with_all_images_of_all_spheres():
    box, shape = (6 * UM, 8 * UM, 10 * UM), (6, 4, 5)
    rng = np.random.default_rng(3)
    packing = Spheres(rng.random((3, 3)) * box, np.array([1.0, 1.5, 2.0]) * UM, box)
    centres = [(np.arange(n) + 0.5) * edge / n for n, edge in zip(shape, box, strict=True)]
    voxels = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    every = [
        np.linalg.norm(voxels - centre - np.multiply(image, box), axis=-1) - radius
        for centre, radius in zip(packing.centre, packing.radius, strict=True)
        for image in itertools.product((-1, 0, 1), repeat=3)
    ]
    expected = np.sort(np.stack(every), axis=0)
    nearest, second = surface_distances(packing, shape, 6 * UM)
    # single precision
    np.testing.assert_allclose(nearest, expected[0], rtol=0, atol=1e-6 * UM)
    np.testing.assert_allclose(second, expected[1], rtol=0, atol=1e-6 * UM)


def test_nothing_is_near_beyond_the_reach():
    packing = Spheres(np.array([[5.0, 5.0, 5.0]]) * UM, np.array([2.0]) * UM, (10 * UM,) * 3)
    nearest, second = surface_distances(packing, (10, 10, 10), UM)
    assert np.isfinite(nearest[5, 5, 7])
    assert np.isinf(nearest[0, 0, 0])
    assert np.isinf(second).all()


def test_binder_bridges_particles_and_coats_none():
    image = electrode(4)
    nearest, second = distances_of(4, 0.5, 0.3)
    binder, pore, active = (image.mask(name) for name in ("binder", "pore", "active"))
    assert nearest[active].max() <= nearest[~active].min()
    assert (nearest + second)[binder].max() <= (nearest + second)[pore].min()
    # all particles grow by one small shift to make up for the volume of their overlaps
    assert abs(float(nearest[active].max())) < 0.05 * 4 * UM


def test_much_binder_is_found_however_far_it_must_reach():
    image = electrode(active=0.1, binder=0.85, sigma=0.0)
    assert np.bincount(image.labels.ravel())[2] == round(0.85 * 24000)
    score = np.add(*distances_of(1, 0.1, 0.0))
    # further than the first reach of half a diameter on either side
    assert score[image.mask("binder")].max() > 8 * UM
    assert score[image.mask("binder")].max() <= score[image.mask("pore")].min()


def test_equal_values_are_taken_in_order():
    values = np.array([[2.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    assert smallest(values, 3).tolist() == [[False, True, True], [False, True, False]]
    assert not smallest(values, 0).any()
    assert smallest(values, 6).all()


def test_flat_voxels_sample_the_same_spheres():
    fine = electrode(5, shape=(40, 20, 20), binder=0.0).mask("active")
    flat = electrode(5, shape=(40, 20, 10), voxel=(UM, UM, 2 * UM), binder=0.0).mask("active")
    both = fine[:, :, ::2] & fine[:, :, 1::2]
    neither = ~fine[:, :, ::2] & ~fine[:, :, 1::2]
    # a voxel centre between two active ones is active, up to the small common shift of all surfaces
    assert np.mean(flat[both]) > 0.99
    assert np.mean(flat[neither]) < 0.01


def test_particles_go_on_through_the_faces():
    labels = electrode(6, shape=(60, 60, 60)).mask("active")
    for axis in range(3):
        across = np.mean(labels.take(0, axis) == labels.take(-1, axis))
        apart = np.mean(labels.take(0, axis) == labels.take(30, axis))
        assert across > apart + 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": 0.0}, "active_volume_fraction is 0"),
        ({"active": 1.2}, "active_volume_fraction is 1.2"),
        ({"binder": -0.1}, "binder_volume_fraction is -0.1"),
        ({"active": 0.6, "binder": 0.4}, "add up to 1"),
        ({"sigma": -0.1}, "sigma of the diameters is -0.1"),
        ({"median": 1.5 * UM}, "at least 2 voxels"),
        ({"median": float("nan")}, "median diameter is nan"),
        ({"median": 25 * UM, "sigma": 0.0}, "100% of the particle volume .* wider than the image"),
        ({"median": 15 * UM}, "wider than the image"),
        ({"shape": (20, 20, 20), "active": 0.01}, "less than one particle"),
        ({"overlap": 0.6}, "overlap is 0.6"),
        ({"active": 0.85}, "about 0.6[0-9] was reached: lower the active volume fraction"),
    ],
)
def test_impossible_recipes_are_refused_with_a_way_out(options, message):
    with pytest.raises(MeshError, match=message):
        electrode(**options)


def test_more_overlap_makes_denser_packings_possible():
    assert electrode(active=0.8, overlap=0.15).volume_fraction("active") == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("feature", [3.0, 4.0])
def test_blobs_have_the_surface_of_a_cut_gaussian_field(feature):
    image = blobs((80, 80, 80), 0.5, feature, np.random.default_rng(1))
    assert image.phases == ("pore", "active")
    assert np.count_nonzero(image.mask("pore")) == 80**3 // 2
    faces = sum(int(np.count_nonzero(np.diff(image.labels.astype(np.int8), axis=axis))) for axis in range(3))
    # Rice: area per volume (2/pi) sqrt(-rho''(0)) with rho = exp(-r^2/(4 s^2)); voxel faces are 3/2 of it
    exact = 1.5 * 2 / np.pi / (np.sqrt(2) * feature)
    # sampling noise of some 20^3 features is 1-2 %, and voxels miss the finest wiggles
    assert faces / (3 * 80 * 80 * 79) * 3 == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("porosity", [0.2, 0.7])
def test_blobs_meet_their_porosity(porosity):
    image = blobs((20, 21, 22), porosity, 2.0, np.random.default_rng(2))
    assert np.count_nonzero(image.mask("pore")) == round(porosity * 20 * 21 * 22)


def test_blobs_go_on_through_the_faces():
    labels = blobs((40, 40, 40), 0.5, 3.0, np.random.default_rng(4)).labels
    for axis in range(3):
        across = np.mean(labels.take(0, axis) == labels.take(-1, axis))
        within = np.mean(labels.take(0, axis) == labels.take(1, axis))
        # neighbouring layers agree in 0.92 of their voxels (Rice, as above), unrelated ones in half of them
        assert across == pytest.approx(within, abs=0.1)


def test_site_noise_ignores_neighbours():
    image = site_noise((40, 40, 40), 0.3, np.random.default_rng(3))
    assert np.count_nonzero(image.mask("pore")) == round(0.3 * 40**3)
    unlike = np.mean(image.labels[1:] != image.labels[:-1])
    # 62 400 faces: the standard deviation is 0.002
    assert unlike == pytest.approx(2 * 0.3 * 0.7, abs=0.01)


@pytest.mark.parametrize("make", [blobs, site_noise])
def test_noise_is_reproducible_and_checked(make):
    extra = (2.0,) if make is blobs else ()
    one, same, other = (make((8, 8, 8), 0.5, *extra, np.random.default_rng(seed)).labels for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
    with pytest.raises(MeshError, match="between 0 and 1"):
        make((8, 8, 8), 1.0, *extra, np.random.default_rng(1))
