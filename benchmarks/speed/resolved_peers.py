"""The linear solver that one would write with scipy and pyamg: the peer of battsim's own in the resolved benchmark.

The Jacobian is assembled into compressed rows. GMRES of scipy, preconditioned by block Gauss-Seidel in battsim's own
order (potentials, solid, salt): one cycle of pyamg's Ruge-Stueben multigrid on the symmetric network of the potentials
and of the salt, made anew for each Jacobian, and the diagonal of the solid.
"""

from functools import partial
from time import perf_counter

import numpy as np
import pyamg
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, gmres

from battsim.models.cell.jacobian import P, assembled, matrix_patterns

RESTART = 60
LIMIT = 300


def network_matrix(network, conductance, ground):
    """Matrix of a resistor network, shape (n_nodes, n_nodes)."""
    a, b, n = network.first, network.second, network.n_nodes
    coupling = sp.coo_array((-conductance, (a, b)), shape=(n, n))
    diagonal = ground + np.bincount(a, conductance, n) + np.bincount(b, conductance, n)
    return sp.csr_matrix(coupling + coupling.T + sp.diags_array(np.where(diagonal > 0, diagonal, 1.0)))


class PyamgSolver:
    """Solves half-cell Jacobians with pyamg and scipy; a drop-in for battsim's BlockSolver."""

    def __init__(self, cell, order):
        self._networks, self._order = cell.networks, order
        self._patterns = matrix_patterns(cell.network, cell.layout)
        self.seconds = {"set-up": 0.0, "application": 0.0, "solve": 0.0}

    def reset(self):
        """Nothing is kept between solves."""

    def solve(self, jacobian, rhs, rtol):
        """The solution of J x = rhs, the Krylov iterations, and whether the true residual fell below rtol."""
        began = perf_counter()
        matrix = assembled(jacobian, self._patterns)
        size = len(matrix.slices)
        whole = sp.block_array([[matrix.blocks.get((r, c)) for c in range(size)] for r in range(size)], format="csr")
        cycles = {}
        for k, (network, g, ground) in enumerate(zip(self._networks, matrix.conductance, matrix.ground, strict=True)):
            if not g.any() or k not in (P, 1):
                cycles[k] = partial(np.multiply, 1.0 / matrix.blocks[k, k].diagonal())
            else:
                hierarchy = pyamg.ruge_stuben_solver(network_matrix(network, g, ground), max_coarse=300)
                cycles[k] = hierarchy.aspreconditioner().matvec
        self.seconds["set-up"] += perf_counter() - began

        def sweep(r):
            started = perf_counter()
            z = np.zeros(r.size)
            for k in self._order:
                here = matrix.slices[k]
                others = np.empty_like(z[here])
                matrix.coupling(k, z, others)
                z[here] = cycles[k](r[here] - others)
            self.seconds["application"] += perf_counter() - started
            return z

        counted = []
        n = rhs.size
        # right-preconditioned, as battsim's: what falls is the true residual
        y, _ = gmres(
            LinearOperator((n, n), matvec=lambda v: whole @ sweep(v), dtype=np.float64),
            rhs,
            rtol=rtol,
            restart=RESTART,
            maxiter=-(-LIMIT // RESTART),
            callback=counted.append,
            callback_type="pr_norm",
        )
        x = sweep(y)
        self.seconds["solve"] += perf_counter() - began
        return x, len(counted), bool(np.linalg.norm(rhs - whole @ x) <= rtol * np.linalg.norm(rhs))
