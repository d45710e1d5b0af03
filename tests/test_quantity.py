import pytest

from battsim.errors import CaseError
from battsim.quantity import EXAMPLES, QuantityError, parse_rate, to_si


@pytest.mark.parametrize(
    ("written", "unit", "expected"),
    [
        ("0.398 um", "m", 3.98e-7),
        ("0.398um", "m", 3.98e-7),
        ("0.4 µm", "m", 4e-7),
        ("4e-15 m2/s", "m^2/s", 4e-15),
        ("1000 mol/m^3", "mol/m^3", 1000.0),
        ("1 mol m-3", "mol/m^3", 1.0),
        ("1.2 mol/dm^3", "mol/m^3", 1200.0),
        ("18 mS/cm", "S/m", 1.8),
        ("4.7 g/cm3", "kg/m^3", 4700.0),
        ("0.5 ohm m^2", "ohm m^2", 0.5),
        ("0.1 Ω·cm2", "ohm m^2", 1e-5),
        ("48.7 Ah/m^2", "C/m^2", 175320.0),
        ("2 mAh/cm^2", "C/m^2", 72000.0),
        ("1 Wh/m^2", "J/m^2", 3600.0),
        ("3.8e5 1/m", "1/m", 3.8e5),
        ("0.5 h", "s", 1800.0),
        ("-0.1 mV/K", "V/K", -1e-4),
        ("50 %", "", 0.5),
        ("300 K", "K", 300.0),
    ],
)
def test_number_and_unit_become_si_to_the_last_digit(written: str, unit: str, expected: float) -> None:
    # equality on purpose: the conversion is decimal, so that a voxel size is what the user typed
    assert to_si(written, unit) == expected


def test_celsius_has_its_own_zero() -> None:
    assert to_si("25 degC", "K") == pytest.approx(298.15, rel=1e-14)
    assert to_si("-20 °C", "K") == pytest.approx(253.15, rel=1e-14)


def test_celsius_stands_alone() -> None:
    with pytest.raises(QuantityError, match=r"'mV/degC', that cannot be read"):
        to_si("0.1 mV/degC", "V/K")


@pytest.mark.parametrize("number", [3, 3.0, 0, -2.5])
def test_plain_numbers_are_si_already(number: float) -> None:
    assert to_si(number, "V") == float(number)


@pytest.mark.parametrize(
    "written",
    [
        "3.5",
        "",
        " ",
        "abc",
        "3.5 um",
        "3.5 volt^",
        "3.5 foo",
        "3.5 /V",
        "3.5 V+V",
        "3.5 V//s",
        "3.5 (V)",
        "3.5 V.__class__",
        "__import__('os')",
        "1 V^999999999",
        "3.5 degC",
        "1 V/degC",
        "1e400 V",
        "1e9999999999 V",
        "nan V",
        "inf V",
        "9" * 500 + " V",
        "1 " + "V " * 100,
        True,
        None,
        [3.5],
        {"a": 1},
        float("nan"),
        float("inf"),
        10**400,
    ],
)
def test_anything_else_is_refused_by_key_value_and_example(written: object) -> None:
    with pytest.raises(QuantityError) as caught:
        to_si(written, "V", "protocol.0.until.voltage")
    message = str(caught.value)
    assert message.startswith("protocol.0.until.voltage = ")
    assert 'a voltage is expected: write a number in V, or a string such as "3.5 V"' in message
    assert len(message) < 500


def test_every_example_is_a_good_one() -> None:
    for unit, (_, example) in EXAMPLES.items():
        for written in example.split(" or "):
            if written.startswith('"'):
                to_si(written.strip('"'), unit)


def test_an_error_is_a_case_error_and_a_value_error() -> None:
    assert issubclass(QuantityError, CaseError)
    assert issubclass(QuantityError, ValueError)


@pytest.mark.parametrize(
    ("written", "expected"),
    [(1, 1.0), (0.5, 0.5), ("1 C", 1.0), ("0.2C", 0.2), ("2e-1 C", 0.2), ("C/5", 0.2), ("C / 20", 0.05)],
)
def test_rate_grammar(written: object, expected: float) -> None:
    assert parse_rate(written) == expected


@pytest.mark.parametrize(
    "written", ["fast", "1", "-1 C", "0 C", 0, -1, True, "C/0", "C/-2", "C/5 C", "1 A", "nan C", [1]]
)
def test_bad_rates_show_the_grammar(written: object) -> None:
    with pytest.raises(QuantityError, match=r'protocol\.0\.rate = .* is not a rate; .* 1, "1 C", "0\.2C" or "C/5"'):
        parse_rate(written, "protocol.0.rate")
