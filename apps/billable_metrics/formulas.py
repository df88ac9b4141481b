"""Arithmetic over the properties of an event: ``input_tokens + output_tokens``, ``gpus * seconds / 3600``.

A formula is read once into a small tree, which computes in Python and writes itself as SQL, so that an event is worth
the same whoever measures it. Python's own parser reads the text; only what is named here gets through, and nothing of
it is ever run as code.
"""

from __future__ import annotations

import ast
import decimal
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from apps.common.errors import InvalidInput
from apps.pricing.formatting import plain_decimal

LONGEST = 500
LONGEST_NAME = 200
MOST_STEPS = 32
QUOTIENT_DECIMALS = 30  # A quotient is rounded to these, half away from zero; everything else is exact.

# Far wider than any product of MOST_STEPS stored numbers, so that nothing but a quotient is ever rounded.
EXACT = decimal.Context(prec=9_000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, rounding=decimal.ROUND_HALF_UP)
# Enough digits that rounding them to QUOTIENT_DECIMALS gives what rounding the true quotient would, for a quotient of
# the sizes that occur. EXACT has enough for any, and takes its time.
_DIVIDING = decimal.Context(prec=300, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, rounding=decimal.ROUND_HALF_UP)
_LARGEST_DIVIDED = 150
_QUOTIENT = Decimal(1).scaleb(-QUOTIENT_DECIMALS)
# PostgreSQL gives a quotient as many decimals as its dividend has.
_SQL_ONE = f"1.{'0' * 100}"

_is_name = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+").fullmatch

Numbers = Mapping[str, Decimal]
PropertySql = Callable[[str], str]


def is_property_name(name: str) -> bool:
    """Whether a property or a type of events can have this name; what else it may be is the sender's affair."""
    return len(name) <= LONGEST_NAME and _is_name(name) is not None


def is_unicode(text: str) -> bool:
    """Whether the text can be stored: half of a surrogate pair, which JSON can spell, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


class Node:
    """A part of a formula."""

    def evaluate(self, numbers: Numbers) -> Decimal | None:
        """The value, with the number of each property that holds one; None when it divides by zero."""
        raise NotImplementedError

    def sql(self, property_sql: PropertySql) -> str:
        """The same as an SQL expression over numerics, NULL when it divides by zero."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Number(Node):
    value: Decimal

    def evaluate(self, numbers: Numbers) -> Decimal:
        return self.value

    def sql(self, property_sql: PropertySql) -> str:
        return f"{plain_decimal(self.value)}::numeric"


@dataclass(frozen=True, slots=True)
class Property(Node):
    """A number in the event's data; one that is missing counts as nothing."""

    name: str

    def evaluate(self, numbers: Numbers) -> Decimal:
        return numbers.get(self.name, Decimal(0))

    def sql(self, property_sql: PropertySql) -> str:
        return f"coalesce({property_sql(self.name)}, 0)"


@dataclass(frozen=True, slots=True)
class Operation(Node):
    operator: str
    left: Node
    right: Node

    def evaluate(self, numbers: Numbers) -> Decimal | None:
        left, right = self.left.evaluate(numbers), self.right.evaluate(numbers)
        if left is None or right is None:
            return None
        if self.operator == "+":
            return EXACT.add(left, right)
        if self.operator == "-":
            return EXACT.subtract(left, right)
        if self.operator == "*":
            return EXACT.multiply(left, right)
        if not right:
            return None
        context = _DIVIDING if left.adjusted() - right.adjusted() < _LARGEST_DIVIDED else EXACT
        return context.divide(left, right).quantize(_QUOTIENT, context=EXACT)

    def sql(self, property_sql: PropertySql) -> str:
        left, right = self.left.sql(property_sql), self.right.sql(property_sql)
        if self.operator == "/":
            return f"round({left} * {_SQL_ONE} / nullif({right}, 0), {QUOTIENT_DECIMALS})"
        return f"({left} {self.operator} {right})"


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function: ``min``, ``max``, or one that makes a whole number: ``ceil``, ``floor``, ``round``."""

    ROUNDING: ClassVar[Mapping[str, str]] = {
        "ceil": decimal.ROUND_CEILING,
        "floor": decimal.ROUND_FLOOR,
        "round": decimal.ROUND_HALF_UP,
    }
    SEVERAL: ClassVar[Mapping[str, str]] = {"min": "least", "max": "greatest"}

    function: str
    arguments: tuple[Node, ...]

    def evaluate(self, numbers: Numbers) -> Decimal | None:
        values = [value for node in self.arguments if (value := node.evaluate(numbers)) is not None]
        if len(values) < len(self.arguments):
            return None
        if self.function in self.ROUNDING:
            return values[0].quantize(Decimal(1), rounding=self.ROUNDING[self.function], context=EXACT)
        return min(values) if self.function == "min" else max(values)

    def sql(self, property_sql: PropertySql) -> str:
        written = [node.sql(property_sql) for node in self.arguments]
        if self.function in self.ROUNDING:
            return f"{self.function}({written[0]})"
        # LEAST and GREATEST pass over NULL, which must stay one here.
        known = " AND ".join(f"({text}) IS NOT NULL" for text in written)
        return f"CASE WHEN {known} THEN {self.SEVERAL[self.function]}({', '.join(written)}) END"


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression, and the properties it reads."""

    root: Node
    properties: tuple[str, ...]

    def value(self, numbers: Numbers) -> Decimal | None:
        """The value for one event; None when none of its properties holds a number, or it divides by zero."""
        return self.root.evaluate(numbers) if numbers else None

    def sql(self, property_sql: PropertySql) -> str:
        """The same in SQL; ``property_sql`` writes the number in a property, NULL where it holds none."""
        none_known = " AND ".join(f"{property_sql(name)} IS NULL" for name in self.properties)
        return f"CASE WHEN NOT ({none_known}) THEN {self.root.sql(property_sql)} END"


_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_FUNCTIONS = {**dict.fromkeys(Call.ROUNDING, 1), **dict.fromkeys(Call.SEVERAL, None)}
_HELP = (
    "Use property names, numbers, + - * / and parentheses, such as input_tokens + output_tokens. "
    "A name with other characters stands in quotes, such as 'input-tokens'."
)


def parse_formula(text: str, *, field: str = "value_expression") -> Formula:
    """Read an expression. Raises InvalidInput, which says what it cannot take."""
    if len(text) > LONGEST:
        raise InvalidInput(f"An expression has at most {LONGEST} characters.", field=field)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidInput(f"“{text}” is no expression. {_HELP}", field=field) from error
    reader = _Reader(text.strip(), field)
    root = reader.node(tree.body)
    if not reader.properties:
        raise InvalidInput(f"An expression reads at least one property. {_HELP}", field=field)
    return Formula(root, tuple(reader.properties))


class _Reader:
    """Turns Python's syntax tree into ours, and refuses all that has no place in it."""

    def __init__(self, text: str, field: str) -> None:
        self.text = text
        self.field = field
        self.steps = 0
        self.properties: dict[str, None] = {}

    def node(self, tree: ast.expr) -> Node:
        self.steps += 1
        if self.steps > 2 * MOST_STEPS:
            raise self._refused(f"An expression has at most {MOST_STEPS} steps.")
        if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
            return Operation(_OPERATORS[type(tree.op)], self.node(tree.left), self.node(tree.right))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return Operation("-", Number(Decimal(0)), self.node(tree.operand))
        if isinstance(tree, ast.Call):
            return self._call(tree)
        if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
            return self._number(tree)
        return self._property(tree)

    def _call(self, tree: ast.Call) -> Node:
        name = tree.func.id if isinstance(tree.func, ast.Name) else ""
        if name not in _FUNCTIONS or tree.keywords:
            raise self._refused(f"The functions are {', '.join(sorted(_FUNCTIONS))}.")
        arity = _FUNCTIONS[name]
        if (arity is None and len(tree.args) < 2) or (arity is not None and len(tree.args) != arity):
            raise self._refused(f"{name}() takes {'one value' if arity else 'two values or more'}.")
        return Call(name, tuple(self.node(argument) for argument in tree.args))

    def _number(self, tree: ast.Constant) -> Node:
        # The text, not Python's value of it: a float would be another number.
        try:
            value = Decimal(self._source(tree))
        except decimal.InvalidOperation:
            raise self._refused("Write numbers in decimal, such as 3600 or 0.001.") from None
        if value and not (abs(value.adjusted()) <= 30 and len(value.as_tuple().digits) <= 40):
            raise self._refused("Numbers in an expression have at most 30 digits before and after the point.")
        return Number(value)

    def _property(self, tree: ast.expr) -> Node:
        name = "".join(self._name_parts(tree))
        if not is_property_name(name):
            raise self._refused(
                f"The name of a property has at most {LONGEST_NAME} characters, none of them control characters."
            )
        self.properties[name] = None
        return Property(name)

    def _name_parts(self, tree: ast.expr) -> Iterator[str]:
        """The name of a property: plain, with dots, or in quotes."""
        if isinstance(tree, ast.Name):
            # As it is written: Python's own reading makes one letter of several that look alike, such as µ and μ.
            yield self._source(tree)
        elif isinstance(tree, ast.Constant) and isinstance(tree.value, str) and tree.value:
            yield tree.value
        elif isinstance(tree, ast.Attribute):
            yield from self._name_parts(tree.value)
            yield "." + self._source(tree).rpartition(".")[2].strip()
        else:
            raise self._refused(_HELP)

    def _source(self, tree: ast.expr) -> str:
        return ast.get_source_segment(self.text, tree) or ""

    def _refused(self, sentence: str) -> InvalidInput:
        return InvalidInput(sentence, field=self.field)
