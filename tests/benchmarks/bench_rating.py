"""Rating against bare Decimal arithmetic of the same amounts: python -m tests.benchmarks.bench_rating

Each round rates every charge of every contract, from a measured quantity to a rated line with its breakdown. The limit
multiplies, divides and rounds the same Decimals, tier by tier where there are tiers, and keeps the amount only. Both
must come to the same amounts, to the cent, line by line. No database takes part.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

from apps.pricing.charge_models.base import Tier, Usage, UsageGroup
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, rate_charge, rate_lines
from tests.benchmarks.harness import compare, report

D = Decimal
MILLION, THOUSAND, HUNDRED, ONE, ZERO = D(1_000_000), D(1000), D(100), D(1), D(0)
CENT = D("0.01")
BARE = Context(prec=76, rounding=ROUND_HALF_UP)
VALUES = [(model, direction) for model in ("small", "large") for direction in ("input", "output")]
UNIT_AMOUNTS = [D("0.25"), D("1.25"), D("3"), D("15")]

BareTiers = Sequence[tuple[Decimal | None, Decimal, Decimal]]
TOKEN_TIERS: BareTiers = [(MILLION, D("3"), ZERO), (10 * MILLION, D("2.50"), ZERO), (None, D("2"), ZERO)]
CALL_TIERS: BareTiers = [
    (D(100), D("1.00"), ZERO),
    (D(1000), D("0.80"), D(5)),
    (D(10_000), D("0.50"), ZERO),
    (None, D("0.40"), ZERO),
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One charge of a contract: ours, the same in bare arithmetic, and how much is used at most."""

    name: str
    charge: Charge
    bare: Callable[[Decimal], Decimal]
    most: int


def money(exact: Decimal) -> Decimal:
    return BARE.quantize(exact, CENT)


def bare_graduated(quantity: Decimal, tiers: BareTiers, per_units: Decimal) -> Decimal:
    total = lower = ZERO
    for up_to, unit_amount, flat_amount in tiers:
        if quantity <= lower:
            break
        upper = quantity if up_to is None or quantity < up_to else up_to
        amount = BARE.multiply(BARE.subtract(upper, lower), unit_amount)
        if per_units != ONE:
            amount = BARE.divide(amount, per_units)
        if flat_amount:
            amount = BARE.add(amount, flat_amount)
        total = BARE.add(total, amount)
        lower = upper
    return money(total)


def bare_volume(quantity: Decimal, tiers: BareTiers, per_units: Decimal) -> Decimal:
    for up_to, unit_amount, _ in tiers:
        if up_to is None or quantity <= up_to:
            return money(BARE.divide(BARE.multiply(quantity, unit_amount), per_units))
    raise ValueError(quantity)


def bare_package(quantity: Decimal, amount: Decimal, size: Decimal) -> Decimal:
    whole, rest = BARE.divmod(quantity, size)
    return money(BARE.multiply(BARE.add(whole, ONE) if rest else whole, amount))


def bare_allowance(quantity: Decimal, included: Decimal, unit_amount: Decimal, per_units: Decimal) -> Decimal:
    if quantity <= included:
        return money(ZERO)
    return money(BARE.divide(BARE.multiply(BARE.subtract(quantity, included), unit_amount), per_units))


def bare_per_unit(quantity: Decimal, unit_amount: Decimal) -> Decimal:
    return money(BARE.multiply(quantity, unit_amount))


def bare_per_units(quantity: Decimal, unit_amount: Decimal, per_units: Decimal) -> Decimal:
    return money(BARE.divide(BARE.multiply(quantity, unit_amount), per_units))


def tiers_of(bare: BareTiers) -> tuple[Tier, ...]:
    return tuple(Tier(*tier) for tier in bare)


FEE, CALL, TOKEN, STARTED, RATE = D("99.00"), D("0.0125"), D("2.50"), D("0.03"), D("2.9")
OVERAGE, INCLUDED = D("0.10"), D(100_000)
KINDS = [
    Kind("flat", Charge(Flat(FEE)), lambda _: money(FEE), 1),
    Kind("per unit", Charge(PerUnit(CALL)), lambda used: bare_per_unit(used, CALL), 50_000),
    Kind("per million", Charge(PerUnit(TOKEN, MILLION)), lambda used: bare_per_units(used, TOKEN, MILLION), 50_000_000),
    Kind("package", Charge(Package(STARTED, THOUSAND)), lambda used: bare_package(used, STARTED, THOUSAND), 50_000),
    Kind(
        "graduated, 3 tiers",
        Charge(Graduated(tiers_of(TOKEN_TIERS), MILLION)),
        lambda used: bare_graduated(used, TOKEN_TIERS, MILLION),
        30_000_000,
    ),
    Kind(
        "graduated, 4 tiers",
        Charge(Graduated(tiers_of(CALL_TIERS))),
        lambda used: bare_graduated(used, CALL_TIERS, ONE),
        30_000,
    ),
    Kind(
        "volume",
        Charge(Volume(tiers_of(TOKEN_TIERS), MILLION)),
        lambda used: bare_volume(used, TOKEN_TIERS, MILLION),
        30_000_000,
    ),
    Kind("percentage", Charge(Percentage(RATE)), lambda used: bare_per_units(used, RATE, HUNDRED), 90_000),
    Kind(
        "allowance",
        Charge(PerUnit(OVERAGE, THOUSAND), included_units=INCLUDED),
        lambda used: bare_allowance(used, INCLUDED, OVERAGE, THOUSAND),
        300_000,
    ),
]
MATRIX = Charge(Matrix(("model", "direction"), tuple(map(MatrixRow, VALUES, UNIT_AMOUNTS)), MILLION))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--contracts", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    contracts = _contracts(options.contracts)
    amounts = _ours(contracts)
    if amounts != _bare(contracts):
        raise AssertionError("the amounts differ")
    lines = sum(map(len, amounts))
    score = compare(ours=lambda _: _ours(contracts), limit=lambda _: _bare(contracts), rounds=options.rounds)
    report(
        f"rating, {options.contracts} contracts x {len(KINDS) + 1} charges ({lines} lines), {options.rounds} rounds: "
        f"ours over bare Decimals {score}, that is {score.ours_seconds / score.limit_seconds:.2f} times its time; "
        f"ours {lines / score.ours_seconds:,.0f} lines/s ({1e6 * score.ours_seconds / lines:.2f} µs each), "
        f"bare {lines / score.limit_seconds:,.0f} lines/s"
    )


@dataclass(frozen=True, slots=True)
class Contract:
    """What a contract used: a quantity for each charge, and the groups of the matrix."""

    quantities: list[Decimal]
    usage: Usage


def _contracts(count: int) -> list[Contract]:
    dice = random.Random(7)
    contracts = []
    for _ in range(count):
        groups = tuple(UsageGroup(values, D(dice.randint(1, 20_000_000))) for values in VALUES)
        usage = Usage(sum((group.quantity for group in groups), ZERO), groups=groups)
        contracts.append(Contract([D(dice.randint(1, kind.most)) for kind in KINDS], usage))
    return contracts


def _ours(contracts: list[Contract]) -> list[list[Decimal]]:
    """Rate contract by contract; the lines of one are gone before the next, as when periods are closed."""
    charges = [kind.charge for kind in KINDS]
    amounts = []
    for contract in contracts:
        lines = [rate_charge(charge, used, "USD") for charge, used in zip(charges, contract.quantities, strict=True)]
        lines.extend(rate_lines(MATRIX, contract.usage, "USD"))
        amounts.append([line.amount for line in lines])
    return amounts


def _bare(contracts: list[Contract]) -> list[list[Decimal]]:
    sums = [kind.bare for kind in KINDS]
    amounts = []
    for contract in contracts:
        lines = [bare(used) for bare, used in zip(sums, contract.quantities, strict=True)]
        for group, unit_amount in zip(contract.usage.groups, UNIT_AMOUNTS, strict=True):
            lines.append(bare_per_units(group.quantity, unit_amount, MILLION))
        amounts.append(lines)
    return amounts


if __name__ == "__main__":
    main()
