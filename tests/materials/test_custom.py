import dataclasses

import numpy as np
import pytest

from battsim.errors import CaseError, InputError
from battsim.materials.custom import ActiveMaterialOverrides, ExchangeCurrentForm, custom_active_material
from battsim.materials.nmc811_chen2020 import nmc811_chen2020
from battsim.materials.types import open_circuit

X = np.linspace(0.02, 0.98, 25)
EVERYTHING = ActiveMaterialOverrides(
    max_concentration=63104.0,
    stoichiometry_soc100=0.27,
    stoichiometry_soc0=0.9084,
    fitted=(0.25, 0.93),
    ocp="4.4875 - 0.809*x - 0.0428*tanh(18.5138*(x - 0.5542)) - 17.7326*tanh(15.7890*(x - 0.3117))"
    " + 17.5842*tanh(15.9308*(x - 0.3120))",
    entropic=0.0,
    diffusivity=4e-15,
    exchange_current=ExchangeCurrentForm(3.42e-6),
    alpha_a=0.5,
    alpha_c=0.5,
    conductivity=0.18,
    density=4700.0,
    film_resistance=0.0,
)


def test_without_overrides_the_base_is_unchanged():
    base = nmc811_chen2020()
    custom = custom_active_material(base, ActiveMaterialOverrides())
    assert dataclasses.replace(custom, name=base.name, source=base.source) == base
    assert base.name in custom.name
    assert "modified" in custom.source


def test_a_set_written_out_by_hand_equals_the_published_one():
    custom, published = custom_active_material(None, EVERYTHING), nmc811_chen2020()
    for T in (298.15,):
        np.testing.assert_allclose(open_circuit(custom, X, T), open_circuit(published, X, T), rtol=1e-12)
        np.testing.assert_allclose(custom.diffusivity(X, T), published.diffusivity(X, T))
        np.testing.assert_allclose(
            custom.exchange_current(X, 900.0, T), published.exchange_current(X, 900.0, T), rtol=1e-9, atol=1e-12
        )
    assert custom.density == 4700.0


def test_missing_properties_are_all_named():
    with pytest.raises(CaseError) as error:
        custom_active_material(None, dataclasses.replace(EVERYTHING, density=None, ocp=None, max_concentration=None))
    assert "max_concentration, ocp, density missing" in str(error.value)
    with pytest.raises(CaseError) as error:
        custom_active_material(None, ActiveMaterialOverrides())
    for field in dataclasses.fields(ActiveMaterialOverrides):
        assert field.name in str(error.value)


def test_single_properties_are_replaced():
    material = custom_active_material(
        nmc811_chen2020(),
        ActiveMaterialOverrides(diffusivity="1e-14*exp(-2*x)*exp(3000*(1/298.15 - 1/T))", alpha_a=0.4),
    )
    value, slope = material.diffusivity(X, 310.0)
    exact = 1e-14 * np.exp(-2 * X) * np.exp(3000 * (1 / 298.15 - 1 / 310.0))
    np.testing.assert_allclose(value, exact, rtol=1e-12)
    np.testing.assert_allclose(slope, -2 * exact, rtol=1e-12)
    assert (material.alpha_a, material.alpha_c) == (0.4, 0.5)
    assert material.max_concentration == 63104.0


def test_exchange_current_follows_the_maximum_concentration_of_the_base():
    base = nmc811_chen2020()
    form = ExchangeCurrentForm(3.42e-6)
    material = custom_active_material(base, ActiveMaterialOverrides(exchange_current=form))
    np.testing.assert_allclose(
        material.exchange_current(0.5, 1000.0, 298.15)[0], base.exchange_current(0.5, 1000.0, 298.15)[0]
    )
    doubled = custom_active_material(
        base, ActiveMaterialOverrides(exchange_current=form, max_concentration=2 * 63104.0)
    )
    np.testing.assert_allclose(
        doubled.exchange_current(0.5, 1000.0, 298.15)[0], 2 * base.exchange_current(0.5, 1000.0, 298.15)[0]
    )


def test_any_form_is_differentiated(assert_derivative):
    form = ExchangeCurrentForm(1e-3, "c_e**0.3*(c_s/c_max)**0.4*(1 - c_s/c_max)**0.6*exp(300/T)")
    i0 = custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(exchange_current=form)).exchange_current
    c_e = np.full_like(X, 700.0)
    np.testing.assert_allclose(i0(X, c_e, 300.0)[0], 1e-3 * 700**0.3 * X**0.4 * (1 - X) ** 0.6 * np.e, rtol=1e-12)
    assert_derivative(lambda x: i0(x, c_e, 300.0)[:2], X, step=1e-5)
    assert_derivative(lambda c: i0(X, c, 300.0)[::2], c_e, step=0.1)


def test_exchange_current_of_a_form_is_finite_at_the_limits():
    i0 = custom_active_material(None, EVERYTHING).exchange_current
    value, by_x, by_salt = i0(np.array([-0.1, 0.0, 1.0, 1.1]), np.array([0.0, -1.0, 0.0, 1000.0]), 298.15)
    assert np.all(value > 0)
    np.testing.assert_array_equal(by_x, 0.0)
    np.testing.assert_array_equal(by_salt[:3], 0.0)


def test_table_brings_its_own_range(tmp_path):
    path = tmp_path / "ocp.csv"
    path.write_text("x,U\n0.1,4.4\n0.5,3.9\n0.8,3.6\n")
    material = custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(ocp=path))
    assert material.fitted == (0.1, 0.8)
    np.testing.assert_allclose(material.ocp(np.array([0.1, 0.5, 0.8]))[0], [4.4, 3.9, 3.6], rtol=1e-14)
    narrower = custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(ocp=path, fitted=(0.2, 0.7)))
    assert narrower.fitted == (0.2, 0.7)
    with pytest.raises(CaseError, match="inside that of the OCP table"):
        custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(ocp=path, fitted=(0.05, 0.7)))


@pytest.mark.parametrize("key", ["ocp", "entropic"])
@pytest.mark.parametrize("rows", ["-0.1,4.4\n0.8,3.6\n", "0.1,4.4\n1.2,3.6\n"])
def test_table_outside_zero_to_one(tmp_path, key, rows):
    path = tmp_path / "curve.csv"
    path.write_text(rows)
    with pytest.raises(CaseError, match=rf"{key}: a table from x = .* \(.*curve\.csv\) found; .* between 0 and 1"):
        custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(**{key: path}))


def test_entropic_as_number_formula_and_table(tmp_path):
    path = tmp_path / "entropic.csv"
    path.write_text("0,1e-4\n1,3e-4\n")
    for given, expected in ((2e-4, 2e-4), (0, 0.0), ("1e-4*(1 + 2*x)", 2e-4), (path, 2e-4)):
        material = custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(entropic=given))
        np.testing.assert_allclose(material.entropic(np.array([0.5]))[0], expected, rtol=1e-12)


def test_closures_are_taken_as_they_are():
    flat = lambda x: (np.full(np.shape(x), 3.4), np.zeros(np.shape(x)))  # noqa: E731
    assert custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(ocp=flat)).ocp is flat


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"max_concentration": 0.0}, "max_concentration: 0 mol/m3"),
        ({"max_concentration": -5.0}, "max_concentration: -5 mol/m3"),
        ({"fitted": (0.9, 0.2)}, "fitted: \\[0.9, 0.2\\]"),
        ({"fitted": (0.0, 1.2)}, "fitted"),
        ({"stoichiometry_soc100": 0.0}, "stoichiometry_soc100: 0 found"),
        ({"stoichiometry_soc0": 1.5}, "stoichiometry_soc0: 1.5 found"),
        ({"stoichiometry_soc0": 0.27}, "a different x"),
        ({"alpha_a": 0.0}, "alpha_a: 0 found"),
        ({"conductivity": 0.0}, "conductivity: 0 S/m"),
        ({"conductivity": float("nan")}, "conductivity: nan"),
        ({"density": -1.0}, "density: -1 kg/m3"),
        ({"film_resistance": -1.0}, "film_resistance: -1"),
        ({"diffusivity": -1e-15}, "diffusivity: -1e-15 at x ="),
        ({"diffusivity": "1e-14*(0.5 - x)"}, "diffusivity: .* at x = 0.5"),
        ({"ocp": "4 - log(x - 0.3)"}, "ocp: formula .* no finite value"),
        ({"ocp": "4 - y"}, "'y' at position 5"),
        ({"diffusivity": "c_e*1e-15"}, "'c_e' at position 1"),
        ({"exchange_current": ExchangeCurrentForm(0.0)}, "rate_constant: 0 found"),
        ({"exchange_current": ExchangeCurrentForm(1.0, "c_s - c_max")}, "exchange_current: .* at x = 0.005"),
        ({"exchange_current": ExchangeCurrentForm(1.0, "x*c_e")}, "'x' at position 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(overrides, reason):
    with pytest.raises(CaseError, match=reason):
        custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(**overrides))


def test_unreadable_table(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv"):
        custom_active_material(nmc811_chen2020(), ActiveMaterialOverrides(ocp=tmp_path / "gone.csv"))
