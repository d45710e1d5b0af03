"""The resolved half cell in FiPy's own terms, on two sheets of cells: electrons on one, ions on the other.

    d(c_s)/dt     = div(D_s grad c_s)                                  - a j / F
    d(eps c_e)/dt = div(b D_e grad c_e) - div(t_plus i_e / F)          + a j / F
    0             = div(k grad phi) - div(i_d)                         - a (j - g (phi_s - phi_e))

There is one potential: phi_s on the sheet of the electronic cells (relative to a reference), phi_e on the sheet of the
electrolyte cells. A nano-porous binder voxel has a cell on both, a voxel of any other phase on one; so all readings of
the binder are the same equation. k is sigma on the one sheet, b kappa on the other, and on the faces that join them the
conductance g of the linearised reaction times the distance of the cells; i_d = -b kappa beta grad ln c_e.
a = area per volume of the cell; a j leaves the electronic and enters the electrolyte cell. The counter electrode is a
boundary where phi = 0 behind such a conductance, the collector one where phi = V.

A reaction between neighbouring cells must not enter FiPy's matrix through source terms: it stagnates.

g is not dj/d(phi_s - phi_e) at fixed concentrations, for within a step of seconds these answer: j = j_last + w (j_BV -
j_last + dj/dphi d(phi_s - phi_e)) with w = 1/(1 + s), and s the change of j by what a unit of j does to its two cells
until the end of the step (`answer`). Without it sweeps diverge.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from fipy import CellVariable, DiffusionTerm, FaceVariable, TransientTerm, Variable
from numpy.typing import NDArray

from battsim.models.fipy_cell.closures import Closures
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.network import COLLECTOR_PATCH, COUNTER_PATCH
from battsim.physics.interface import InterfaceCurrent
from meshing.fipy_mesh import fipy_sheets
from meshing.mesh import Mesh

Floats = NDArray[np.float64]


class FipyHalfCell:
    """Fields and equations of a half cell in FiPy; other terms may be added to the equations.

    Parameters
    ----------
    mesh
        The mesh of `cell`, a whole block of boxes.
    cell
        Unknowns, face lists and parameters.

    Attributes
    ----------
    mesh
        FiPy mesh: electronic cells first, then electrolyte cells, in the order of the network.
    c_s, c_e
        Concentrations, mol/m3; on cells of other phases they stay as they are and mean nothing.
    phi, V
        Potentials, those of electrons relative to the reference, and the terminal's, V.
    response
        Change of phi - V by one volt at the terminal.
    solid_equation, salt_equation, charge_equation, response_equation
        FiPy terms.
    D_s, bD_e, k
        Face coefficients of the diffusion terms, m2/s, m2/s and S/m.
    migration, i_d
        Face vectors t_plus i_e / F, mol/(m2 s), and the current of the concentration gradient, A/m2.
    from_solid, to_salt, into
        Cell sources: mol/(m3 s) that leave the solid and enter the electrolyte, and A/m3 that do not follow phi.
    porosity
        Share of electrolyte of each cell.
    j, j_Li
        Current densities that the concentrations were last given, A/m2.
    reference, a
        What phi_s and V are relative to, V, and the rate of the step, 1/s.
    shift, solid
        Number of electronic cells, and which of them are active material.
    faces, solid_faces
        Where each list of faces lies in the mesh, and those between cells of active material.
    per_conductance, volume
        Face coefficient per conductance, 1/m, and volume of the cells, m3.
    """

    def __init__(self, mesh: Mesh, cell: HalfCell) -> None:
        self.cell = cell
        network = self.network = cell.network
        self.closures = Closures(network, cell.parameters)
        self.shift = shift = network.electronic_cells.size
        self.solid = np.searchsorted(network.electronic_cells, network.solid_cells)
        self.mesh = fipy_sheets(
            mesh,
            np.concatenate([network.electronic_cells, network.electrolyte_cells]),
            np.concatenate([self._electronic_pairs(), self._ionic_pairs(), self._reactive_pairs()], axis=1),
            {COLLECTOR_PATCH: network.collector[0], COUNTER_PATCH: network.counter.ionic + shift},
        )
        self.faces = _consecutive(
            electronic=network.electronic_faces.owner.size,
            ionic=network.ionic_faces.owner.size,
            reactive=network.reactive.area.size,
            collector=network.collector[0].size,
            counter=network.counter.area.size,
        )
        self.solid_faces = self._faces_between_solids()
        self.per_conductance = np.asarray(self.mesh._cellDistances) / np.asarray(self.mesh._faceAreas)
        self.volume = np.asarray(self.mesh.cellVolumes)
        self._fields()
        self._equations()
        self.reference, self.a = 0.0, 0.0
        self.reset()

    def _electronic_pairs(self) -> NDArray[np.int32]:
        faces = self.network.electronic_faces
        return np.stack([faces.owner, faces.neighbour])

    def _ionic_pairs(self) -> NDArray[np.int32]:
        faces = self.network.ionic_faces
        return np.stack([faces.owner, faces.neighbour]) + self.shift

    def _reactive_pairs(self) -> NDArray[np.int32]:
        faces = self.network.reactive
        return np.stack([faces.electronic, faces.ionic + self.shift])

    def _faces_between_solids(self) -> NDArray[np.intp]:
        """Electronic face of each solid face."""
        faces, electronic, n = self.network.solid_faces, self._electronic_pairs().astype(np.int64), self.shift
        known = electronic[0] * n + electronic[1]
        wanted = self.solid[faces.owner].astype(np.int64) * n + self.solid[faces.neighbour]
        order = np.argsort(known)
        return order[np.searchsorted(known, wanted, sorter=order)]

    def _fields(self) -> None:
        mesh = self.mesh
        self.c_s = CellVariable(mesh=mesh, name="c_s", value=0.0, hasOld=True)
        self.c_e = CellVariable(mesh=mesh, name="c_e", value=self.cell.parameters.salt, hasOld=True)
        self.phi = CellVariable(mesh=mesh, name="phi", value=0.0)
        self.V = Variable(value=0.0, name="V")
        # change of phi - V by a volt at the terminal
        self.response = CellVariable(mesh=mesh, name="response", value=0.0)
        at = {name: np.zeros(mesh.numberOfFaces, bool) for name in ("collector", "counter")}
        for name, mask in at.items():
            mask[self.faces[name]] = True
        self.phi.constrain(self.V, where=at["collector"])
        self.phi.constrain(0.0, where=at["counter"])
        self.response.constrain(0.0, where=at["collector"])
        self.response.constrain(-1.0, where=at["counter"])

    def _equations(self) -> None:
        mesh, shift = self.mesh, self.shift
        porosity = np.ones(mesh.numberOfCells)
        porosity[shift:] = self.network.electrolyte_volume / self.volume[shift:]
        self.porosity = CellVariable(mesh=mesh, name="porosity", value=porosity)
        self.D_s, self.bD_e, self.k = (FaceVariable(mesh=mesh, value=0.0) for _ in range(3))
        self.migration, self.i_d = (FaceVariable(mesh=mesh, rank=1, value=0.0) for _ in range(2))
        self.from_solid, self.to_salt, self.into = (CellVariable(mesh=mesh, value=0.0) for _ in range(3))
        self.solid_equation = TransientTerm(var=self.c_s) == (
            DiffusionTerm(coeff=self.D_s, var=self.c_s) - self.from_solid
        )
        self.salt_equation = TransientTerm(coeff=self.porosity, var=self.c_e) == (
            DiffusionTerm(coeff=self.bD_e, var=self.c_e) - self.migration.divergence + self.to_salt
        )
        self.charge_equation = DiffusionTerm(coeff=self.k, var=self.phi) - self.i_d.divergence + self.into == 0.0
        self.response_equation = DiffusionTerm(coeff=self.k, var=self.response) == 0.0

    # state

    def reset(self) -> None:
        """Forget what one step leaves for the next to start from."""
        self.j, self.j_Li = np.zeros(self.network.reactive.area.size), np.zeros(self.network.counter.area.size)
        self._guess = (self.j, self.j_Li)
        self.response.setValue(0.0)

    def set(self, u: Floats, reference: float) -> None:
        """Put a state vector into the fields; its phi_s and V are relative to `reference`, V."""
        layout, shift = self.cell.layout, self.shift
        c_s, phi = np.zeros(self.volume.size), np.empty(self.volume.size)
        c_e = np.full(self.volume.size, self.cell.parameters.salt)
        c_s[self.solid] = self.cell.parameters.active.max_concentration * u[layout.x]
        c_e[shift:] = u[layout.c_e]
        phi[:shift], phi[shift:] = u[layout.phi_s], u[layout.phi_e]
        for field, value in ((self.c_s, c_s), (self.c_e, c_e), (self.phi, phi), (self.V, u[layout.V])):
            field.setValue(value)
        self.reference = reference

    def begin(self, a: float, u_star: Floats, u: Floats, reference: float) -> None:
        """Begin a step du/dt = a (u - u_star) from a first guess u; a = 0 keeps the concentrations."""
        self.set(u_star, reference)
        self.c_s.updateOld()
        self.c_e.updateOld()
        self.set(u, reference)
        self.a = a
        reaction, counter = self.reactions()
        self.j, self.j_Li = reaction.j, counter.j

    def rebase(self) -> None:
        """Make the terminal the reference: differences of volts across good conductors would lose digits."""
        V, phi = float(self.V.value), np.array(self.phi.value)
        phi[: self.shift] -= V
        self.phi.setValue(phi)
        self.V.setValue(0.0)
        self.reference += V

    def state(self) -> Floats:
        """The fields as a state vector, relative to `reference`."""
        layout = self.cell.layout
        u = np.empty(layout.size)
        u[layout.x], u[layout.c_e], u[layout.phi_s], u[layout.phi_e] = self.local()
        u[layout.V] = float(self.V.value)
        return u

    def local(self) -> tuple[Floats, Floats, Floats, Floats]:
        """x, c_e, phi_s (relative), phi_e in the order of the network."""
        c_s, c_e, phi = (np.array(field.value) for field in (self.c_s, self.c_e, self.phi))
        x = c_s[self.solid] / self.cell.parameters.active.max_concentration
        return x, c_e[self.shift :], phi[: self.shift], phi[self.shift :]

    def reactions(self) -> tuple[InterfaceCurrent, InterfaceCurrent]:
        """Butler-Volmer at the fields' state: of the active material and of the counter electrode."""
        x, c_e, phi_s, phi_e = self.local()
        reaction = self.closures.reaction(x, c_e, phi_s + self.reference, phi_e, self._guess[0])
        counter = self.closures.dissolution(c_e, phi_e, self._guess[1])
        self._guess = (reaction.j, counter.j)
        return reaction, counter

    def current(self) -> float:
        """What the collector takes, positive in discharge, A."""
        cells, g = self.network.collector
        return float(g @ (np.asarray(self.phi.value)[cells] - float(self.V.value)))

    def along_normals(self, faces: str, flux: Floats) -> Floats:
        """Density of what flows through some of the faces, positive from the lower cell, shape (3, n_faces)."""
        density = np.zeros(self.mesh.numberOfFaces)
        density[self.faces[faces]] = flux
        vectors: Floats = np.asarray(self.mesh.faceNormals) * (density / np.asarray(self.mesh._faceAreas))
        return vectors


def _consecutive(**counts: int) -> dict[str, slice]:
    """Where each of several lists lies, one behind the other."""
    ends = np.cumsum((0, *counts.values()))
    return {name: slice(*range_) for name, range_ in zip(counts, pairwise(ends), strict=True)}
