"""BPX, the Battery Parameter eXchange format (FaradayInstitution/BPX): files in, records, files out.

`read_bpx` turns a file of version 0.1 to 1.1 into a frozen `BpxCell`; `bpx_of` and `write_bpx` turn one into version
1.1. The schema is checked by the package `bpx` (extra `bpx`). That package writes the formulas of a file into a Python
module and runs it; here it never sees them: formulas go through `battsim.materials.expression`, and a table of numbers
stands in their place while the schema is checked.

What BPX means by its quantities, and what is done with them:

- "Conductivity [S.m-1]" of an electrode and "Transport efficiency" b are effective values.
- "Reaction rate constant [mol.m-2.s-1]" is K in i0 = F K sqrt(c_e/c_e0) sqrt(x (1 - x)), j = 2 i0 sinh(F eta/(2 R T)),
  with c_e0 the initial salt concentration. The written standards 0.1 and 0.2 lack the 2; the files of these versions
  that are in circulation mean it, and are read so, with a note.
- Activation energies multiply by exp(E/R (1/T_ref - 1/T)), the entropic coefficient adds (T - T_ref) dU/dT.
- Functions are numbers, formulas in x (stoichiometry in an electrode, mol/m3 in the electrolyte) or tables
  {"x": [...], "y": [...]}, which are interpolated monotonically by a cubic (PyBaMM: by straight lines).
- "Minimum" and "Maximum stoichiometry" are the ends of charge: 0 % and 100 % of the negative electrode, 100 % and 0 %
  of the positive one.
- "Particle" in an electrode lists the components of a blend, or sizes of one material.

What BPX lacks is read from, and written to, its "User-defined" block, under the names below, all optional. Each begins
with its place: "Negative electrode: ", "Positive electrode: ", for a component of a blend "Positive electrode, NAME: ".

==================================================  ==================================================================
binder conductivity [S.m-1]                         effective, of the carbon-binder domain
binder porosity                                     of its nano-pores, between 0 and 1
binder tortuosity factor                            porosity / b, at least 1
binder active coverage                              share of the active|binder area that reacts
binder contact resistance [Ohm.m2]                  of active|binder
active material conductivity [S.m-1]                bulk; default: the electrode's effective value, with a note
active material density [kg.m-3]                    default: a stand-in, with a note
film resistance [Ohm.m2]                            default 0
anodic transfer coefficient                         default 0.5
cathodic transfer coefficient                       default 0.5
fitted minimum stoichiometry                        below it U continues straight; default: the table's first x, or
                                                    as far as the formula stays between -1 and 6 V
fitted maximum stoichiometry                        the same above
exchange-current density at reference salt [A.m-2]  number, formula in x or table: i0 at c_e0 and T_ref, instead of
                                                    the reaction rate constant
exchange-current salt exponent                      p in i0 ~ (c_e/c_e0)^p; default 0.5
Electrolyte: thermodynamic factor                   number, formula in x (mol/m3) or table; default 1, as PyBaMM
Electrolyte: cation transference number             the same, instead of BPX's single number
==================================================  ==================================================================
"""

from battsim.materials.bpx.read import read_bpx
from battsim.materials.bpx.record import BpxBinder, BpxCell, BpxElectrode, BpxParticle, BpxSeparator
from battsim.materials.bpx.write import bpx_of, write_bpx

__all__ = [
    "BpxBinder",
    "BpxCell",
    "BpxElectrode",
    "BpxParticle",
    "BpxSeparator",
    "bpx_of",
    "read_bpx",
    "write_bpx",
]
