import numpy as np
import pytest
import scipy.sparse as sp

from battsim.fvm.blocks import BlockMatrix, Network, Pattern, face_entries, face_values, point_entries


def ints(*values):
    return np.array(values, np.int32)


def test_pattern_sums_what_falls_on_one_place():
    pattern = Pattern([point_entries(ints(0, 1, 0), ints(2, 0, 2)), point_entries(ints(0), ints(2))], (2, 3))
    matrix = pattern.matrix([np.array([1.0, 5.0, 10.0]), np.array([100.0])])
    assert np.array_equal(matrix.toarray(), [[0, 0, 111], [5, 0, 0]])
    assert matrix.nnz == 2


def test_pattern_is_reused_with_new_values():
    pattern = Pattern([point_entries(ints(1, 0), ints(1, 0))], (2, 2))
    first = pattern.matrix([np.array([1.0, 2.0])])
    second = pattern.matrix([np.array([3.0, 4.0])])
    assert np.array_equal(first.diagonal(), [2.0, 1.0])
    assert np.array_equal(second.diagonal(), [4.0, 3.0])


def test_pattern_keeps_rows_without_entries():
    matrix = Pattern([point_entries(ints(3), ints(1))], (5, 4)).matrix([np.array([7.0])])
    expected = np.zeros((5, 4))
    expected[3, 1] = 7.0
    assert np.array_equal(matrix.toarray(), expected)


def test_pattern_agrees_with_scipys_sum_of_duplicates():
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, n, 300).astype(np.int32) for n in (11, 7))
    values = rng.normal(size=300)
    matrix = Pattern([point_entries(rows, columns)], (11, 7)).matrix([values])
    expected = sp.coo_array((values, (rows, columns)), shape=(11, 7)).toarray()
    np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-14)  # the same sums in another order
    assert matrix.has_sorted_indices


def test_a_faces_flux_leaves_the_owner_and_enters_the_neighbour():
    # flux 3 u_owner - 2 u_neighbour between cells 0 and 2, read from unknowns 1 and 0
    entries = face_entries(ints(0), ints(2), ints(1), ints(0))
    matrix = Pattern([entries], (3, 2)).matrix([face_values(np.array([3.0]), np.array([-2.0]))])
    assert np.array_equal(matrix.toarray(), [[-2, 3], [0, 0], [2, -3]])
    assert np.array_equal(matrix.sum(axis=0), [0, 0])


def test_product_of_a_block_jacobian_is_that_of_the_whole_matrix():
    rng = np.random.default_rng(1)
    slices = (slice(0, 3), slice(3, 5), slice(5, 9))
    sizes = (3, 2, 4)
    keys = [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)]
    blocks = {(r, c): sp.csr_array(rng.normal(size=(sizes[r], sizes[c]))) for r, c in keys}
    jacobian = BlockMatrix(slices, blocks, (), ())
    whole = np.zeros((9, 9))
    for (r, c), block in blocks.items():
        whole[slices[r], slices[c]] = block.toarray()
    u = rng.normal(size=9)
    np.testing.assert_allclose(jacobian @ u, whole @ u, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 6])
def test_network_counts_its_nodes(n):
    assert Network(ints(), ints(), np.zeros((n, 3), np.int32)).n_nodes == n
