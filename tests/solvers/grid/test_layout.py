import numpy as np
import pytest

from battsim.solvers.grid.halo import unwrap, wrap
from battsim.solvers.grid.layout import joined_planes, layer, plain, set_layer, split_planes, split_shape

SHAPES = [(1, 1, 1), (2, 3, 4), (3, 2, 5), (4, 5, 1), (1, 6, 7), (5, 1, 2)]
each_shape = pytest.mark.parametrize("shape", SHAPES)


def place(i, j, k):
    """Where voxel (i, j, k) of the padded grid lies, straight from the definition."""
    c = (i + j + k + 1) % 2
    q = (i + j + c) % 2
    return c, i, j, (k + 1 - q) // 2


def padded(x, shape):
    """The grid with its padding, NaN along edges and at corners, which no voxel sees."""
    whole = np.full([n + 2 for n in shape], np.nan)
    for at in np.ndindex(whole.shape):
        if sum(a in (0, n + 1) for a, n in zip(at, shape, strict=True)) < 2:
            whole[at] = x[place(*at)]
    return whole


def split(values, dtype=np.float64):
    x = np.zeros(split_shape(values.shape), dtype)
    split_planes(0, values.shape[0], values, x)
    return x


def numbered(shape):
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape)


@each_shape
def test_each_voxel_lies_where_the_definition_says_and_nothing_elsewhere(shape):
    values = numbered(shape)
    x = split(values)
    np.testing.assert_array_equal(padded(x, shape)[1:-1, 1:-1, 1:-1], values)
    assert x.sum() == values.sum()


@each_shape
def test_joined_is_what_was_split_plane_by_plane(shape):
    values = numbered(shape)
    x, back = np.zeros(split_shape(shape)), np.full(shape, np.nan)
    for i in range(shape[0]):
        split_planes(i, i + 1, values, x)
    for i in range(shape[0]):
        joined_planes(i, i + 1, x, back)
    np.testing.assert_array_equal(back, values)


@each_shape
@pytest.mark.parametrize("axis", range(3))
def test_layers_are_read_and_written_with_and_without_padding(shape, axis):
    values, rng = numbered(shape), np.random.default_rng(0)
    for index in range(shape[axis] + 2):
        x = split(values)
        expected = padded(x, shape)
        new = rng.standard_normal(shape[:axis] + shape[axis + 1 :])
        set_layer(x, shape, axis, index, new)
        inside = [slice(1, -1)] * 3
        inside[axis] = index
        expected[tuple(inside)] = new
        np.testing.assert_array_equal(padded(x, shape), expected)
        np.testing.assert_array_equal(layer(x, shape, axis, index), new)
        set_layer(x, shape, axis, index, 7.0)
        np.testing.assert_array_equal(layer(x, shape, axis, index), np.full(new.shape, 7.0))


@each_shape
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("periodic", [(True, False, False), (False, True, True), (True, True, True)])
def test_wrapped_padding_is_that_of_numpy_plus_the_rise(shape, dtype, periodic):
    values, rise = numbered(shape), (0.5, -2.0, 4.0)  # exact in float32
    x = split(values, dtype)
    wrap(x, shape, periodic, rise)
    expected = np.pad(values, 1, mode="wrap")
    for axis in range(3):
        low, high = (np.moveaxis(expected, axis, 0)[k] for k in (0, -1))
        low -= rise[axis]
        high += rise[axis]
        if not periodic[axis]:
            low[:], high[:] = 0, 0
    found = padded(x, shape)
    np.testing.assert_array_equal(found, np.where(np.isnan(found), np.nan, expected))
    assert x.dtype == dtype
    unwrap(x, shape, periodic)
    np.testing.assert_array_equal(x, split(values, dtype))


def test_unwrap_leaves_the_padding_of_other_axes():
    shape = (3, 4, 5)
    x = split(numbered(shape))
    set_layer(x, shape, 1, 0, 3.0)
    unwrap(x, shape, (True, False, True))
    np.testing.assert_array_equal(layer(x, shape, 1, 0), np.full((3, 5), 3.0))


def test_plain_copies_only_what_kernels_would_be_compiled_for_again(tmp_path):
    values = numbered((3, 4, 5))
    assert np.shares_memory(plain(values), values)
    frozen = values.copy()
    frozen.setflags(write=False)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="c")
    for other in (frozen, np.asfortranarray(values), values.astype(">f8"), numbered((3, 4, 10))[..., ::2], mapped):
        found = plain(other)
        np.testing.assert_array_equal(found, other)
        assert np.shares_memory(found, other) == (other is mapped)
        assert type(found) is np.ndarray
        assert found.dtype == np.float64
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.flags.writeable
