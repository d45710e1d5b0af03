import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.materials.expression import compile_expression
from battsim.materials.nmc811_chen2020 import ocp

X = np.linspace(0.05, 0.95, 19)


def complex_step(text, x, **others):
    """Exact derivative by a complex step, with Python's own evaluation of a text that the test wrote."""
    names = {name: getattr(np, name) for name in ("exp", "tanh", "cosh", "sinh", "log", "sqrt")}
    return eval(text, {"__builtins__": {}}, {**names, **others, "x": x + 1e-30j}).imag / 1e-30


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-x + 2",
        "+3*x - x/7",
        "1/(1 + x)",
        "x**3 - 2*x**2",
        "x**-0.5",
        "2**x",
        "x**x",
        "(x - 2)**3",
        "x**0",
        "exp(-3*x)*tanh(5*(x - 0.5))",
        "cosh(x)/sinh(x)",
        "log(x) + sqrt(x)",
        "exp(exp(-x)) / (x + exp(x))",
        "1e-14*exp(-3*x)*(1 + 2*x**2)",
        "-2**2*x",
        "x**2**0.5",
        "T*x**2 + T",
    ],
)
def test_value_and_derivative(text):
    value, slope = compile_expression(text, ("x", "T"), "x")({"x": X, "T": 300.0})
    # 1e-13: a handful of roundings
    np.testing.assert_allclose(value, eval(text, {**vars(np)}, {"x": X, "T": 300.0}) + 0 * X, rtol=1e-13)
    np.testing.assert_allclose(slope, complex_step(text, X, T=300.0), rtol=1e-13, atol=1e-13)


def test_negative_base_keeps_a_whole_power():
    value, slope = compile_expression("(x - 2)**3", ("x",), "x")({"x": np.array([0.5])})
    np.testing.assert_allclose([value[0], slope[0]], [-3.375, 6.75], rtol=1e-15)


def test_published_potential_as_a_formula():
    text = (
        "-0.8090*x + 4.4875 - 0.0428*tanh(18.5138*(x - 0.5542)) - 17.7326*tanh(15.7890*(x - 0.3117))"
        " + 17.5842*tanh(15.9308*(x - 0.3120))"
    )
    np.testing.assert_allclose(compile_expression(text, ("x",), "x")({"x": X}), ocp(X), rtol=1e-12)


def test_derivative_by_another_variable():
    variables = ("c_e", "c_s", "c_max")
    state = {"c_e": np.array([1000.0]), "c_s": np.array([2e4]), "c_max": 5e4}
    by_salt = compile_expression("sqrt(c_e*c_s*(c_max-c_s))", variables, "c_e")(state)
    by_solid = compile_expression("sqrt(c_e*c_s*(c_max-c_s))", variables, "c_s")(state)
    root = np.sqrt(1000.0 * 2e4 * 3e4)
    np.testing.assert_allclose(by_salt, [[root], [root / 2000]], rtol=1e-14)
    np.testing.assert_allclose(by_solid, [[root], [1000.0 * (5e4 - 4e4) / (2 * root)]], rtol=1e-14)


def test_result_has_the_common_shape_even_if_constant():
    value, slope = compile_expression("4.0", ("x", "T"), "x")({"x": np.zeros((2, 3)), "T": 300.0})
    assert value.shape == slope.shape == (2, 3)
    np.testing.assert_array_equal(value, 4.0)
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize(
    ("text", "token", "position"),
    [
        ("__import__('os')", "__import__('os')", 1),
        ("open(x)", "open(x)", 1),
        ("1 + eval(x)", "eval(x)", 5),
        ("x.__class__", "x.__class__", 1),
        ("(lambda: 1)()", "(lambda: 1)()", 1),
        ("[x for x in (1,)]", "[x for x in (1,)]", 1),
        ("x if x else 1", "x if x else 1", 1),
        ("2*y + x", "y", 3),
        ("  2*y", "y", 5),
        ("x > 0.5", "x > 0.5", 1),
        ("x and 1", "x and 1", 1),
        ("'a'", "'a'", 1),
        ("True + x", "True", 1),
        ("x + 1j", "1j", 5),
        ("x // 2", "x // 2", 1),
        ("x % 2", "x % 2", 1),
        ("x @ x", "x @ x", 1),
        ("~x", "~x", 1),
        ("exp(x, 2)", "exp(x, 2)", 1),
        ("exp(x=2)", "exp(x=2)", 1),
        ("exp(x, out=2)", "exp(x, out=2)", 1),
        ("exp(*x)", "*x", 5),
        ("exp", "exp", 1),
        ("sech(x)", "sech(x)", 1),
        ("x[0]", "x[0]", 1),
        ("(y := 1)", "y := 1", 2),
        ("f'{x}'", "f'{x}'", 1),
        ("1e999*x", "1e999", 1),
        ("1" * 400 + "*x", "1" * 37 + "...", 1),
    ],
)
def test_everything_else_is_refused_with_token_and_position(text, token, position):
    with pytest.raises(CaseError) as error:
        compile_expression(text, ("x",), "x")
    assert f"{token!r} at position {position}" in str(error.value)
    assert "Allowed are" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "   ", "x +", "x; x", "x = 1", "import os", "x)", "(" * 300 + "x" + ")" * 300, "\0"]
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(CaseError, match="formula"):
        compile_expression(text, ("x",), "x")


def test_caret_is_explained():
    with pytest.raises(CaseError, match=r"write \*\*"):
        compile_expression("x^2", ("x",), "x")


def test_position_of_a_syntax_error():
    with pytest.raises(CaseError, match="position 5"):
        compile_expression("x + )", ("x",), "x")


@pytest.mark.parametrize("text", ["9**9**9**9", "9**9**9**9*x", "x + 10.0**400", "2**(2**(2**(2**(2**2))))"])
def test_power_bombs_cost_nothing_and_are_refused(text):
    # in integers the first of them would not end: that this test does is half of what it says
    with pytest.raises(CaseError, match="no finite value"):
        compile_expression(text, ("x",), "x")({"x": X})


def test_length_and_depth_are_limited():
    with pytest.raises(CaseError, match="characters"):
        compile_expression("x" + "+x" * 3000, ("x",), "x")
    with pytest.raises(CaseError, match="nested"):
        compile_expression("-" * 400 + "x", ("x",), "x")
    with pytest.raises(CaseError, match="nested"):
        compile_expression("-" * 4990 + "x", ("x",), "x")
    value, slope = compile_expression("x" + "+x" * 150, ("x",), "x")({"x": X})
    np.testing.assert_allclose(value, 151 * X, rtol=1e-13)
    np.testing.assert_array_equal(slope, 151.0)


@pytest.mark.parametrize(
    ("text", "place"), [("log(x - 0.5)", "x = 0.05"), ("1/(x - 0.5)", "x = 0.5"), ("sqrt(-x)", "x =")]
)
def test_no_value_is_an_error_that_names_the_place(text, place):
    with pytest.raises(CaseError, match="no finite value and slope at") as error:
        compile_expression(text, ("x",), "x")({"x": np.array([0.05, 0.5, 0.95])})
    assert place in str(error.value)


def test_arguments_are_not_modified():
    x = X.copy()
    compile_expression("-x + x*2 - 3*x", ("x",), "x")({"x": x})
    np.testing.assert_array_equal(x, X)


def test_result_is_a_fresh_array():
    value, slope = compile_expression("x", ("x",), "x")({"x": X})
    value[0] = slope[0] = 99.0
    assert X[0] == 0.05
