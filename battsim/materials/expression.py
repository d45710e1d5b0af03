"""Formulas typed by a user, as values with exact derivatives: a whitelist over Python's syntax tree.

Text such as `4.4875 - 0.809*x - 0.0428*tanh(18.5138*(x - 0.5542))` is parsed (never evaluated as Python), checked node
by node against a short list of what is allowed, and turned into nested functions once. Each of them returns its value
and its derivative with respect to one chosen variable (forward mode, so exact to rounding).
"""

import ast
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from battsim.errors import CaseError
from battsim.materials.types import Floats

MAX_LENGTH = 5000
"""Characters of a formula."""

MAX_DEPTH = 200
"""Nesting of a formula; each further term of a sum counts as one level."""

Value = Floats | float
Dual = tuple[Value, Value | None]
"""Value and derivative; None is a derivative that is zero everywhere."""

Node = Callable[[Mapping[str, Value]], Dual]
Formula = Callable[[Mapping[str, Value]], tuple[Floats, Floats]]
"""f({variable: value}) -> (f, derivative), both of the variables' common shape."""


def _exp(a: Value) -> tuple[Value, Value]:
    value = np.exp(a)
    return value, value


def _tanh(a: Value) -> tuple[Value, Value]:
    value = np.tanh(a)
    return value, 1.0 - value * value


def _sqrt(a: Value) -> tuple[Value, Value]:
    value = np.sqrt(a)
    return value, 0.5 / value


FUNCTIONS: dict[str, Callable[[Value], tuple[Value, Value]]] = {
    "exp": _exp,
    "tanh": _tanh,
    "sqrt": _sqrt,
    "cosh": lambda a: (np.cosh(a), np.sinh(a)),
    "sinh": lambda a: (np.sinh(a), np.cosh(a)),
    "log": lambda a: (np.log(a), 1.0 / a),
}
"""Name -> (value, derivative) of each function that a formula may call."""


def _plus(da: Value | None, db: Value | None) -> Value | None:
    if da is None or db is None:
        return db if da is None else da
    return da + db


def _times(da: Value | None, factor: Value) -> Value | None:
    return None if da is None else da * factor


def _add(a: Value, da: Value | None, b: Value, db: Value | None) -> Dual:
    return a + b, _plus(da, db)


def _subtract(a: Value, da: Value | None, b: Value, db: Value | None) -> Dual:
    return a - b, _plus(da, _times(db, -1.0))


def _multiply(a: Value, da: Value | None, b: Value, db: Value | None) -> Dual:
    return a * b, _plus(_times(da, b), _times(db, a))


def _divide(a: Value, da: Value | None, b: Value, db: Value | None) -> Dual:
    quotient = np.divide(a, b)
    return quotient, _times(_plus(da, _times(db, -quotient)), np.divide(1.0, b))


def _power(a: Value, da: Value | None, b: Value, db: Value | None) -> Dual:
    value = np.power(a, b)
    from_base = None if da is None else np.where(b == 0.0, 0.0, b * np.power(a, b - 1.0)) * da
    return value, _plus(from_base, None if db is None else value * np.log(a) * db)


OPERATORS: dict[type[ast.operator], Callable[[Value, Value | None, Value, Value | None], Dual]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Pow: _power,
}


def compile_expression(text: str, variables: Sequence[str], wrt: str) -> Formula:
    """Function that evaluates the formula and its derivative with respect to `wrt`.

    Allowed are numbers, the given variables, + - * / **, parentheses, and exp, tanh, cosh, sinh, log, sqrt.

    Parameters
    ----------
    text : str
        Formula in Python's notation, such as "1e-14*exp(-3*x)*(1 + 2*x**2)".
    variables : sequence of str
        Names that may occur; the returned function wants a value for each.
    wrt : str
        Variable of the derivative, one of `variables`.

    Raises
    ------
    CaseError
        When the text holds anything else, with the offending part and its position; and by the returned function
        where the formula has no finite value or slope, with the place.
    """
    assert wrt in variables
    compiler = _Compiler(text, tuple(variables), wrt)
    root = compiler.compile()

    def evaluate(values: Mapping[str, Value]) -> tuple[Floats, Floats]:
        shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        with np.errstate(all="ignore"):
            value, derivative = root(arrays)
        value = np.broadcast_to(value, shape).astype(np.float64)
        derivative = np.broadcast_to(0.0 if derivative is None else derivative, shape).astype(np.float64)
        bad = ~(np.isfinite(value) & np.isfinite(derivative))
        if bad.any():
            place = ", ".join(f"{name} = {np.broadcast_to(array, shape)[bad][0]:g}" for name, array in arrays.items())
            raise CaseError(f"formula {compiler.shown()} has no finite value and slope at {place}; correct it there.")
        return value, derivative

    return evaluate


class _Compiler:
    """Walks one syntax tree; holds the text and the names for its error messages."""

    def __init__(self, text: str, variables: tuple[str, ...], wrt: str) -> None:
        self.text = text
        self.variables = variables
        self.wrt = wrt

    def shown(self) -> str:
        """Text for a message, shortened."""
        return repr(self.text if len(self.text) <= 60 else self.text[:57] + "...")

    def compile(self) -> Node:
        if len(self.text) > MAX_LENGTH:
            raise CaseError(
                f"formula {self.shown()} has {len(self.text)} characters; at most {MAX_LENGTH} are allowed. "
                "Give a table (a CSV file) instead."
            )
        source = " ".join(self.text.split("\n")).lstrip()
        try:
            tree = ast.parse(source, mode="eval")
        except SyntaxError as error:
            position = (error.offset or 1) + len(self.text) - len(self.text.lstrip())
            raise CaseError(
                f"formula {self.shown()} is not well formed at position {position}: {error.msg}. {self.allowed()}"
            ) from None
        except (ValueError, RecursionError, MemoryError):
            raise CaseError(f"formula {self.shown()} is too deeply nested or not text. {self.allowed()}") from None
        return self.node(tree.body, source, 0)

    def allowed(self) -> str:
        """Sentence that lists what a formula may hold."""
        return (
            f"Allowed are numbers, {', '.join(self.variables)}, the operators + - * / ** (power), parentheses, "
            f"and the functions {', '.join(sorted(FUNCTIONS))}."
        )

    def refusal(self, node: ast.expr, source: str, reason: str = "is not allowed") -> CaseError:
        """Error that names the part of the text and its position, counted from 1."""
        token = ast.get_source_segment(source, node) or type(node).__name__
        before = source.encode()[: node.col_offset].decode(errors="ignore")
        position = len(before) + 1 + len(self.text) - len(self.text.lstrip())
        token = token if len(token) <= 40 else token[:37] + "..."
        return CaseError(f"formula {self.shown()}: {token!r} at position {position} {reason}. {self.allowed()}")

    def node(self, node: ast.expr, source: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.refusal(node, source, f"is nested more than {MAX_DEPTH} levels deep")
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return self.number(node, source, number)
            case ast.Name(id=name) if name in self.variables:
                seed = 1.0 if name == self.wrt else None
                return lambda values: (values[name], seed)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.node(operand, source, depth + 1)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.negative(self.node(operand, source, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                operation = OPERATORS[type(op)]
                return self.binary(operation, self.node(left, source, depth + 1), self.node(right, source, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                return self.call(FUNCTIONS[name], self.node(argument, source, depth + 1))
            case ast.BinOp(op=ast.BitXor()):
                raise self.refusal(node, source, "uses ^, which is no power here: write **")
            case ast.Name(id=name):
                raise self.refusal(node, source, "is not a name that a formula can use here")
        raise self.refusal(node, source)

    def number(self, node: ast.expr, source: str, number: float) -> Node:
        try:
            value = float(number)
        except OverflowError:
            value = np.inf
        if not np.isfinite(value):
            raise self.refusal(node, source, "is too large a number")
        return lambda values: (value, None)  # noqa: ARG005

    @staticmethod
    def negative(operand: Node) -> Node:
        def evaluate(values: Mapping[str, Value]) -> Dual:
            a, da = operand(values)
            return -a, _times(da, -1.0)

        return evaluate

    @staticmethod
    def binary(operation: Callable[[Value, Value | None, Value, Value | None], Dual], left: Node, right: Node) -> Node:
        def evaluate(values: Mapping[str, Value]) -> Dual:
            a, da = left(values)
            b, db = right(values)
            return operation(a, da, b, db)

        return evaluate

    @staticmethod
    def call(function: Callable[[Value], tuple[Value, Value]], argument: Node) -> Node:
        def evaluate(values: Mapping[str, Value]) -> Dual:
            a, da = argument(values)
            value, slope = function(a)
            return value, _times(da, slope)

        return evaluate
