import numpy as np
import pytest

from battsim.materials.library import electrolyte
from battsim.materials.lipf6_landesfeind2019 import lipf6_landesfeind2019

NAMES = ("lipf6-landesfeind2019", "lipf6-landesfeind2019-ec-dmc", "lipf6-landesfeind2019-emc-fec")
PROPERTIES = ("diffusivity", "conductivity", "transference", "thermodynamic_factor")

# (mol/m3, K) -> D_e, kappa, t_plus, TF of EC:EMC (3:7): figures evaluated from PyBaMM 26.10, parameter set ORegan2022
PUBLISHED = {
    (200.0, 298.15): (4.762433470925605e-10, 0.4368676812628368, 0.3559393163000004, 0.7728034069999943),
    (1000.0, 298.15): (2.89224775016992e-10, 0.9130210874200518, 0.22091281149999986, 2.1817613149999886),
    (2000.0, 298.15): (1.550578309664424e-10, 0.5939402262758728, 0.10571928050000334, 3.8499004999999897),
    (200.0, 278.15): (3.1932851295609153e-10, 0.31300575185064977, 0.1443232363000001, 0.6369242069999954),
    (1000.0, 278.15): (1.7653820456257323e-10, 0.6241698408736192, -0.07445558850000067, 1.693757314999992),
    (2000.0, 278.15): (8.415694543226595e-11, 0.32800530882361933, -0.18201951949999717, 3.2623004999999807),
}
# kappa at 1 mol/L and 25 degC in S/m: the formula with each solvent's six coefficients, worked out by hand
CONDUCTIVITY = {"lipf6-landesfeind2019-ec-dmc": 1.182, "lipf6-landesfeind2019-emc-fec": 0.553}


@pytest.mark.parametrize(("state", "published"), PUBLISHED.items())
def test_all_four_properties_as_published(state, published):
    for name, value in zip(PROPERTIES, published, strict=True):
        # TF and t_plus are small differences of terms up to 50: rounding is 1e-14 of those
        assert getattr(lipf6_landesfeind2019(), name)(*state)[0] == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("name", "kappa"), CONDUCTIVITY.items())
def test_conductivity_of_the_other_solvents(name, kappa):
    assert electrolyte(name).conductivity(1000.0, 298.15)[0] == pytest.approx(kappa, abs=5e-4)


def test_the_thermodynamic_factor_is_published_itself():
    # the product (1 - t_plus) TF is that of Nyman et al. (2008), the same solvent, within 15 %: two laboratories;
    # TF taken for the product would be 48 % off
    product = 0.44103 + 0.74678 + 0.28687
    t_plus, TF = (getattr(lipf6_landesfeind2019(), key)(1000.0, 298.15)[0] for key in PROPERTIES[2:])
    assert (1.0 - t_plus) * TF == pytest.approx(product, rel=0.16)
    assert TF / product > 1.4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", PROPERTIES)
def test_derivatives_inside_and_outside_the_fit(name, key, assert_derivative):
    closure = getattr(electrolyte(name), key)
    for T in (268.15, 298.15, 318.15):

        def at(c_e, T=T):
            return closure(c_e, T)

        assert_derivative(at, np.array([0.1, 0.5, 0.9]), step=1e-3, rtol=1e-6, floor=1e-13)
        assert_derivative(at, np.linspace(3.0, 95.0, 12), step=0.1, rtol=1e-5, floor=1e-12)
        assert_derivative(at, np.linspace(110.0, 2950.0, 48), step=1.0, rtol=1e-6, floor=1e-11)
        assert_derivative(at, np.linspace(3050.0, 6000.0, 48), step=1.0, rtol=1e-6, floor=1e-11)  # levelled off


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", PROPERTIES)
def test_finite_and_where_it_must_be_positive_for_every_concentration(name, key):
    c_e = np.concatenate([[0.0], np.geomspace(1e-12, 1e4, 4001)])
    for T in (263.15, 298.15, 323.15):
        value, slope = getattr(electrolyte(name), key)(c_e, T)
        assert np.all(np.isfinite(slope))
        if key == "transference":  # negative in the cold and at high concentration, as published
            assert np.all(np.abs(value) < 1.0)
        else:
            assert np.all(value > 0)
