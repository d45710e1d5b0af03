import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from meshing.errors import MeshError, PackingError
from meshing.generate import (
    Ellipsoids,
    ParticleForm,
    constant,
    draw_frames,
    draw_graded,
    ellipsoids,
    relax,
    surface_distance,
    worst_overlap,
)
from meshing.generate.contact import bounding_pairs, scales
from meshing.measure import measure_active
from meshing.profile import Profile
from meshing.voxel import voxel_mesh

UM = 1e-6
CUBE = (UM, UM, UM)


def packed(seed=1, *, shape=(40, 40, 40), voxel=CUBE, active=0.5, median=8 * UM, **form):
    profile = active if isinstance(active, Profile) else constant(active)
    sizes = median if isinstance(median, Profile) else constant(median)
    return ellipsoids(shape, voxel, profile, ParticleForm(sizes, **form), np.random.default_rng(seed))


def random_matrices(n, rng):
    frame = draw_frames(n, 0.0, rng)
    particles = Ellipsoids(rng.random((n, 3)), 0.02 + 0.06 * rng.random((n, 3)), frame, (1.0, 1.0, 1.0))
    return particles, particles.matrix


def full(six):
    return np.array([[six[0], six[1], six[2]], [six[1], six[3], six[4]], [six[2], six[4], six[5]]])


def touching_scale(a, b, r):
    """sqrt of the largest w (1 - w) r.((1 - w) A + w B)^-1 r, searched for directly."""

    def contact(w):
        return -w * (1 - w) * r @ np.linalg.solve((1 - w) * a + w * b, r)

    return np.sqrt(-minimize_scalar(contact, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).fun)


def test_the_contact_function_is_that_of_perram_and_wertheim():
    rng = np.random.default_rng(1)
    particles, matrix = random_matrices(60, rng)
    pairs = rng.permutation(60).reshape(30, 2).astype(np.int32)
    found = scales(particles.centre, matrix, np.full(3, 100.0), pairs)
    exact = [
        touching_scale(full(matrix[i]), full(matrix[j]), particles.centre[j] - particles.centre[i]) for i, j in pairs
    ]
    # axes of up to 1:4 after four substitutions; the scale is a maximum, so that it never comes out larger
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    assert np.all(found <= np.array(exact) * (1 + 1e-6))


def test_spheres_touch_at_the_sum_of_their_radii_across_a_face_too():
    box = np.array([10.0, 10.0, 10.0])
    centre = np.array([[0.5, 5.0, 5.0], [9.0, 5.0, 5.0]])
    matrix = np.zeros((2, 6))
    matrix[:, (0, 3, 5)] = np.array([[1.0], [4.0]])
    found = scales(centre, matrix, box, np.array([[0, 1]], np.int32))
    assert found[0] == pytest.approx(1.5 / 3.0, rel=1e-12)


def test_neighbours_are_all_that_a_search_of_all_pairs_finds():
    rng = np.random.default_rng(2)
    box = np.array([3.0, 2.0, 4.0])
    centre, radius = rng.random((300, 3)) * box, 0.02 + 0.3 * rng.random(300) ** 4
    i, j = np.triu_indices(300, 1)
    vector = np.abs(centre[i] - centre[j])
    distance = np.linalg.norm(np.minimum(vector, box - vector), axis=1)
    near = distance < 1.2 * (radius[i] + radius[j])
    expected = {frozenset(pair) for pair in zip(i[near].tolist(), j[near].tolist(), strict=True)}
    found = bounding_pairs(centre, radius, box, 1.2)
    assert len(found) == len(expected)
    assert {frozenset(pair) for pair in found.tolist()} == expected


def test_the_surface_of_an_ellipsoid_is_where_its_distance_changes_sign():
    frame = draw_frames(1, 0.0, np.random.default_rng(3))
    axes = np.array([[4.0, 7.0, 9.0]]) * UM
    particles = Ellipsoids(np.full((1, 3), 15 * UM), axes, frame, (30 * UM,) * 3)
    distance = surface_distance(particles, (60, 60, 60), (UM / 2,) * 3, 3 * UM)
    at = (np.stack(np.meshgrid(*[np.arange(60)] * 3, indexing="ij"), -1) + 0.5) * UM / 2 - 15 * UM
    square = np.sum((at @ frame[0] / axes[0]) ** 2, axis=-1)
    assert np.array_equal(distance < 0, square < 1)
    assert np.mean(distance < 0) * 30**3 == pytest.approx(4 / 3 * np.pi * 4 * 7 * 9, rel=0.01)
    # a true distance grows by one per length; to first order on the surface
    near = np.isfinite(distance) & (np.abs(distance) < UM / 2)
    slope = np.sqrt(
        sum(np.gradient(np.where(np.isfinite(distance), distance, 0), UM / 2, axis=a) ** 2 for a in range(3))
    )
    assert np.mean(slope[near]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("form", [{}, {"sigma": 0.4}, {"aspect": (0.4, 1, 1), "order": 1}, {"aspect": (0.3, 1, 1)}])
@pytest.mark.parametrize("active", [0.3, 0.65])
def test_fraction_size_and_overlap_are_reached(form, active):
    made = packed(active=active, **form)
    assert made.image.phases == ("pore", "active", "binder")
    assert made.image.labels.dtype == np.uint8
    assert np.count_nonzero(made.image.labels == 1) == round(active * 40**3)
    assert made.volume_fractions["pore"] == pytest.approx(1 - active, abs=1e-4)
    # one draw per equal part of the distribution, some 120 to 240 particles
    assert made.median_diameter == pytest.approx(8 * UM, rel=0.06)
    # 0.03 is what counts as not reached
    assert made.overlap <= 0.05 + 0.03


def test_particles_of_any_shape_have_the_volume_of_their_sphere():
    made = packed(aspect=(0.25, 1, 2), sigma=0.3)
    assert made.particles.fraction == pytest.approx(0.5, rel=1e-9)
    ratio = made.particles.half_axes / made.particles.half_axes[:, :1]
    np.testing.assert_allclose(ratio, np.broadcast_to([1, 4, 8], ratio.shape))


def test_the_image_shows_the_particles_that_were_packed():
    made = packed(shape=(60, 60, 60), voxel=(0.5 * UM,) * 3, active=0.4, aspect=(0.5, 1, 1), sigma=0.2)
    distance = surface_distance(made.particles, (60, 60, 60), (0.5 * UM,) * 3, UM)
    inside = made.image.labels == 1
    # one common shift makes up for necks: a small part of the radius
    assert distance[inside].max() <= distance[~inside].min()
    assert abs(distance[inside].max()) < 0.1 * 4 * UM


@pytest.mark.parametrize("order", [-0.5, -0.2, 0.0, 0.4, 0.9, 1.0])
def test_orientations_have_the_order_parameter(order):
    frame = draw_frames(4000, order, np.random.default_rng(4))
    assert np.mean(1.5 * frame[:, 0, 0] ** 2 - 0.5) == pytest.approx(order, abs=2e-3)
    np.testing.assert_allclose(frame @ frame.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frame.shape), atol=1e-12)
    # no direction in the plane is preferred: the standard error of the mean of sin(2 azimuth) is 0.01
    around = np.arctan2(frame[:, 2, 0], frame[:, 1, 0])
    if order < 1:
        assert abs(np.mean(np.exp(2j * around))) < 0.06


@pytest.mark.parametrize("order", [-0.3, 0.0, 0.5, 1.0])
def test_packing_turns_particles_and_keeps_their_order(order):
    made = packed(active=0.6, aspect=(0.3, 1, 1), order=order)
    # by volume here, by number while packing
    assert made.order == pytest.approx(order, abs=0.01)
    frame = made.particles.frame
    np.testing.assert_allclose(frame @ frame.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frame.shape), atol=1e-9)
    drawn = draw_frames(len(frame), order, np.random.default_rng(1))
    assert not np.allclose(frame, drawn)


def test_overlap_is_what_was_allowed():
    tight, loose = packed(active=0.6, overlap=0.0), packed(active=0.6, overlap=0.2)
    assert worst_overlap(tight.particles) < 0.03
    assert 0.15 < worst_overlap(loose.particles) <= 0.2 + 0.03


def test_a_gradient_of_porosity_is_met_on_average():
    profiles = []
    for seed in range(3):
        made = packed(seed, shape=(60, 40, 40), active=Profile((0.35, 0.6)), median=6 * UM)
        assert made.volume_fractions["active"] == pytest.approx(0.475, abs=1e-4)
        profiles.append(np.mean(made.image.labels == 1, axis=(1, 2)))
    thirds = np.mean(profiles, axis=0).reshape(6, 10).mean(axis=1)
    expected = Profile((0.35, 0.6)).of_slices(60).reshape(6, 10).mean(axis=1)
    # 10 slices of three images hold some 60 particles
    np.testing.assert_allclose(thirds, expected, atol=0.03)


def test_two_layers_have_their_own_porosity():
    made = [packed(s, shape=(60, 40, 40), active=Profile((0.4, 0.6), stepped=True), median=6 * UM) for s in range(2)]
    found = np.mean([np.mean(each.image.labels == 1, axis=(1, 2)) for each in made], axis=0)
    # particles of 6 voxels cross the border
    assert found[:24].mean() == pytest.approx(0.4, abs=0.025)
    assert found[36:].mean() == pytest.approx(0.6, abs=0.025)


def test_a_gradient_comes_from_more_particles_and_not_from_swollen_ones():
    made = packed(shape=(60, 40, 40), active=Profile((0.35, 0.6)), median=6 * UM)
    depth = (made.particles.centre[:, 0] - made.particles.margin) / (60 * UM)
    low, high = np.count_nonzero((depth > 0) & (depth < 0.3)), np.count_nonzero((depth > 0.7) & (depth < 1))
    assert high / low == pytest.approx(0.5625 / 0.3875, rel=0.15)
    distance = surface_distance(made.particles, (60, 40, 40), CUBE, 2 * UM)
    assert np.max(np.abs(distance[(made.image.labels == 1) != (distance < 0)])) < 0.2 * 3 * UM


def test_two_layers_have_their_own_sizes():
    made = packed(shape=(80, 40, 40), median=Profile((4 * UM, 10 * UM), stepped=True))
    image, radius = made.image, []
    depth = (made.particles.centre[:, 0] - made.particles.margin) / (80 * UM)
    layers = (depth > 0.05) & (depth < 0.45), (depth > 0.55) & (depth < 0.95)
    for half, layer, size in zip((slice(0, 36), slice(44, 80)), layers, (4 * UM, 10 * UM), strict=True):
        # equal particles, but for those that moved over the border and one common factor
        assert np.median(made.particles.diameter[layer]) == pytest.approx(size, rel=0.02)
        part = type(image)(np.ascontiguousarray(image.labels[half]), image.voxel_size, image.phases)
        radius.append(measure_active(part, voxel_mesh(part, inside="active")).sauter_radius_m)
        assert part.volume_fraction("active") == pytest.approx(0.5, abs=0.04)
    # necks and voxels enlarge small particles more
    assert 1.9 < radius[1] / radius[0] < 2.6


def test_graded_sizes_follow_the_depth_and_fill_the_volume():
    box = (300 * UM, 60 * UM, 60 * UM)
    median = Profile((4 * UM, 12 * UM))
    diameter, depth = draw_graded(box, constant(0.5), median, 0.2, np.random.default_rng(5))
    assert np.sum(np.pi / 6 * diameter**3) / np.prod(box) == pytest.approx(0.5, rel=1e-12)
    for start in (0.0, 0.4, 0.8):
        here = (depth >= start * box[0]) & (depth < (start + 0.2) * box[0])
        volume = np.sum(np.pi / 6 * diameter[here] ** 3) / (0.2 * np.prod(box))
        assert volume == pytest.approx(0.5, rel=0.15)
        order = np.sort(diameter[here])
        middle = order[np.searchsorted(np.cumsum(order**3), 0.5 * np.sum(order**3))]
        assert middle == pytest.approx(median.at(np.array(start + 0.1)), rel=0.1)


def test_periodic_where_nothing_changes_with_the_depth():
    labels = packed(6, shape=(60, 60, 60)).image.labels
    for axis in range(3):
        across = np.mean(labels.take(0, axis) == labels.take(-1, axis))
        apart = np.mean(labels.take(0, axis) == labels.take(30, axis))
        assert across > apart + 0.2


def test_the_seed_alone_decides():
    one, same, other = (packed(seed, aspect=(0.5, 1, 1)).image.labels for seed in (7, 7, 8))
    assert one.tobytes() == same.tobytes()
    assert np.mean(one == other) < 0.6


def test_flat_voxels_show_the_same_particles():
    fine = packed(5, shape=(40, 20, 20), median=6 * UM).image.labels
    flat = packed(5, shape=(40, 20, 10), voxel=(UM, UM, 2 * UM), median=6 * UM).image.labels
    both, neither = fine[:, :, ::2] & fine[:, :, 1::2], (fine[:, :, ::2] | fine[:, :, 1::2]) == 0
    assert np.mean(flat[both == 1]) > 0.98
    assert np.mean(flat[neither]) < 0.02


def test_a_broad_distribution_packs_denser():
    reached = {0.0: [], 0.5: []}
    for sigma, fractions in reached.items():
        for seed in range(5):
            with pytest.raises(PackingError) as caught:
                packed(seed, shape=(30, 30, 30), active=0.85, sigma=sigma, overlap=0.0)
            fractions.append(caught.value.reached)
    assert all(broad > narrow for narrow, broad in zip(*reached.values(), strict=True))


def test_more_moves_do_not_spoil_a_packing():
    made = packed(active=0.6)
    again = relax(made.particles, 0.05)
    assert worst_overlap(again) < 0.06


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": 0.0}, "active_volume_fraction is 0"),
        ({"active": Profile((0.5, 1.2))}, "active_volume_fraction is 1.2"),
        ({"sigma": -0.1}, "sigma of the diameters is -0.1"),
        ({"median": 1.5 * UM}, "at least 2 voxels"),
        ({"median": Profile((8 * UM, 50 * UM))}, "wider than the image"),
        ({"active": 0.001}, "less than one particle"),
        ({"overlap": 0.6}, "overlap is 0.6"),
        ({"order": 1.5}, "order parameter of the orientation is 1.5"),
        ({"aspect": (0.01, 1, 1)}, "at most 10 times the shortest"),
        ({"aspect": (-1, 1, 1)}, "three positive"),
    ],
)
def test_impossible_recipes_are_refused_with_a_way_out(options, message):
    with pytest.raises(MeshError, match=message):
        packed(**options)


def test_a_target_that_cannot_be_packed_says_what_was_reached():
    with pytest.raises(
        PackingError, match=r"with that overlap 0\.[67][0-9] was reached: lower the active volume fraction"
    ) as caught:
        packed(active=0.85)
    assert 0.65 < caught.value.reached < 0.8
    assert packed(active=0.6).volume_fractions["active"] == pytest.approx(0.6, abs=1e-4)


def test_much_overlap_is_made_up_for_however_far_surfaces_must_shift():
    made = packed(active=0.9, overlap=0.45, median=6 * UM)
    assert np.count_nonzero(made.image.labels == 1) == round(0.9 * 40**3)
    distance = surface_distance(made.particles, (40, 40, 40), CUBE, 20 * UM)
    inside = made.image.labels == 1
    # further than the first reach of a quarter of a diameter
    assert distance[inside].max() > 1.5 * UM
    assert distance[inside].max() <= distance[~inside].min()
