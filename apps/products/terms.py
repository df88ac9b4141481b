"""Price terms as values: between the forms, the stored price versions and the charges of ``pricing``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import ChargeModel, InvalidPrice, Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix, MatrixRow, check_rows
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, PricingUnit
from apps.pricing.conversion import Conversion
from apps.products.models import (
    MODEL_COLUMNS,
    TIERED_MODELS,
    ChargeModelName,
    FailurePolicy,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
    QuantityRounding,
    in_tier_order,
)
from apps.products.models import PricingUnit as StoredPricingUnit

ZERO = Decimal(0)
ONE = Decimal(1)
# These columns of a price version are no amounts: each has a value for every charge model.
_FLAGS = ("prorates_included", "flat_fee_at_zero_usage", "prorates_added", "prorates_removed")
# The names that ``pricing`` has for fields of terms, where they differ.
_FIELDS = {
    "free_amount": "included_units",
    "included_seats": "included_units",
    "conversion": "divide_by",
    "rounding": "quantity_rounding",
    "prices": "rows",
}
# What these models call an allowance is theirs to apply: seats by day, the free amount by transaction.
_OWN_ALLOWANCE = frozenset([ChargeModelName.SEATS, ChargeModelName.PERCENTAGE])


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """The model and the amounts of one price version; see ``PriceVersion`` for the fields.

    What a charge model does not have is None; a price is for one unit and includes none unless it says so. The
    ``unit_amount`` of a graduated percentage's tiers is its rate.
    """

    charge_model: ChargeModelName
    flat_amount: Decimal | None = None
    unit_amount: Decimal | None = None
    per_units: Decimal | None = None
    package_size: Decimal | None = None
    rate_percent: Decimal | None = None
    fixed_amount: Decimal | None = None
    free_transactions: int | None = None
    transaction_minimum: Decimal | None = None
    transaction_maximum: Decimal | None = None
    multiplier: Decimal | None = None
    included_units: Decimal | None = None
    prorates_included: bool = True
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    flat_fee_at_zero_usage: bool = False
    divide_by: Decimal | None = None
    quantity_rounding: QuantityRounding | None = None
    failures: FailurePolicy = FailurePolicy.CHARGED
    free_failures: Decimal | None = None
    prorates_added: bool = True
    prorates_removed: bool = True
    pricing_unit_rate: Decimal | None = None
    dimensions: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    rows: tuple[MatrixRow, ...] = ()

    def __post_init__(self) -> None:
        if self.per_units is None and "per_units" in MODEL_COLUMNS[self.charge_model].required:
            object.__setattr__(self, "per_units", ONE)
        if not self.included_units:
            object.__setattr__(self, "included_units", None)

    def write_to(self, version: PriceVersion) -> None:
        """Copy all but tiers and rows, which are rows of their own, to a price version; nothing is stored."""
        for column in COLUMNS:
            setattr(version, column, getattr(self, column))
        version.dimensions = list(self.dimensions)


COLUMNS = tuple(field.name for field in fields(PriceTerms) if field.name not in {"tiers", "rows", "dimensions"})
"""The fields of terms that are columns of the same name."""

AMOUNT_COLUMNS = tuple(sorted(set().union(*(each.required | each.optional for each in MODEL_COLUMNS.values()))))
"""The columns that only some charge models have."""


def check_terms(terms: PriceTerms, metric: BillableMetric | None, pricing_unit: StoredPricingUnit | None) -> None:
    """Refuse terms that do not fit their charge model, the metric or the pricing unit.

    Raises InvalidInput naming the field: a missing or superfluous amount, tiers with gaps, rows that are there twice,
    a metric that cannot feed the model.
    """
    _check_columns(terms)
    _check_tiers(terms)
    _check_rows(terms)
    _check_failures(terms, metric)
    _check_pricing_unit(terms, pricing_unit)
    _check_metric(terms, metric)
    try:
        charge_of_terms(terms, pricing_unit)
    except InvalidPrice as fault:
        field, *_ = fault.field.split(".")
        raise InvalidInput(str(fault), field=_FIELDS.get(field, field) or None) from fault


def _check_columns(terms: PriceTerms) -> None:
    columns = MODEL_COLUMNS[terms.charge_model]
    words = terms.charge_model.value.replace("_", " ")
    for column in AMOUNT_COLUMNS:
        value = getattr(terms, column)
        if column in columns.required and value is None:
            raise InvalidInput("Enter the amount; 0 is allowed.", field=column)
        if value is None or isinstance(value, str):
            continue
        if column not in columns.required | columns.optional:
            raise InvalidInput(f"The {words} model takes no {column.replace('_', ' ')}.", field=column)
        if value < 0:
            raise InvalidInput("A price cannot be negative.", field=column)
        if column in {"per_units", "package_size", "divide_by"} and not value:
            raise InvalidInput("Enter a number above 0.", field=column)
    if (terms.divide_by is None) != (terms.quantity_rounding is None):
        field = "divide_by" if terms.divide_by is None else "quantity_rounding"
        raise InvalidInput("A conversion has a divisor and says how it rounds. Enter both, or neither.", field=field)


def _check_tiers(terms: PriceTerms) -> None:
    if terms.charge_model not in TIERED_MODELS:
        if terms.tiers:
            words = terms.charge_model.value.replace("_", " ")
            raise InvalidInput(f"The {words} model takes no tiers.", field="tiers")
        return
    try:
        check_tiers(terms.tiers)
    except InvalidTiers as fault:
        raise InvalidInput(str(fault), field="tiers") from fault


def _check_rows(terms: PriceTerms) -> None:
    if terms.charge_model != ChargeModelName.MATRIX:
        if terms.rows or terms.dimensions:
            raise InvalidInput("Only a matrix has dimensions and rows.", field="rows")
        return
    try:
        check_rows(terms.dimensions, terms.rows)
    except InvalidPrice as fault:
        raise InvalidInput(str(fault), field="dimensions" if not terms.dimensions else "rows") from fault


def _check_failures(terms: PriceTerms, metric: BillableMetric | None) -> None:
    if (terms.failures == FailurePolicy.FREE_UP_TO) != (terms.free_failures is not None):
        raise InvalidInput(
            "A number of free failed units goes with “free up to a number”, and only with it.", field="free_failures"
        )
    if terms.failures == FailurePolicy.CHARGED:
        return
    if "free_failures" not in MODEL_COLUMNS[terms.charge_model].optional:
        raise InvalidInput("This charge model makes no difference by outcome.", field="failures")
    if metric is not None and not metric.current_version.definition.tells_failures:
        raise InvalidInput(
            f"“{metric}” does not say which outcomes count as failed. Name the property and its values there, let "
            "every event count, and use a count or a sum.",
            field="failures",
        )


def _check_pricing_unit(terms: PriceTerms, pricing_unit: StoredPricingUnit | None) -> None:
    if (pricing_unit is None) != (terms.pricing_unit_rate is None):
        sentence = (
            "Amounts are money, so there is no pricing unit to be worth anything. Clear it."
            if pricing_unit is None
            else f"Enter what one of {pricing_unit.plural} is worth in money."
        )
        raise InvalidInput(sentence, field="pricing_unit_rate")


def _check_metric(terms: PriceTerms, metric: BillableMetric | None) -> None:
    if (terms.charge_model == ChargeModelName.FLAT) != (metric is None):
        sentence = (
            "Choose the metric whose units are charged."
            if metric is None
            else "A flat price has no metric. Clear it, or choose another charge model."
        )
        raise InvalidInput(sentence, field="metric")
    if metric is None:
        return
    definition = metric.current_version.definition
    if terms.charge_model == ChargeModelName.SEATS and not definition.carries_over:
        raise InvalidInput(
            f"Seats are held from one period to the next, and “{metric}” starts anew in each. Choose a metric whose "
            "value carries over.",
            field="metric",
        )
    missing = [name for name in terms.dimensions if name not in definition.group_by]
    if missing:
        raise InvalidInput(
            f"“{metric}” is not grouped by {' and '.join(missing)}. Add it to the metric's dimensions, or leave it out "
            "here.",
            field="dimensions",
        )
    if terms.charge_model == ChargeModelName.MATRIX and not definition.adds_up:
        raise InvalidInput(
            f"“{metric}” does not add up from its parts, so it cannot be priced by rows. Choose a count or a sum.",
            field="metric",
        )


# --- From and to what is stored --------------------------------------------------------------------------------------


def terms_of(version: PriceVersion) -> PriceTerms:
    """The terms that a stored price version states."""
    stored = {column: getattr(version, column) for column in COLUMNS}
    stored["charge_model"] = ChargeModelName(version.charge_model)
    stored["failures"] = FailurePolicy(version.failures)
    if version.quantity_rounding is not None:
        stored["quantity_rounding"] = QuantityRounding(version.quantity_rounding)
    return PriceTerms(
        **stored,
        dimensions=tuple(version.dimensions),
        tiers=tiers_of(version.tiers.all()) if version.charge_model in TIERED_MODELS else (),
        rows=rows_of(version.rows.all()) if version.charge_model == ChargeModelName.MATRIX else (),
    )


def tiers_of(rows: Iterable[PriceTier]) -> tuple[Tier, ...]:
    return tuple(
        Tier(
            up_to=row.up_to,
            unit_amount=row.unit_amount if row.rate_percent is None else row.rate_percent,
            flat_amount=row.flat_amount,
            package_size=row.package_size,
        )
        for row in in_tier_order(rows)
    )


def tier_row_of(tier: Tier, version: PriceVersion) -> PriceTier:
    """The row that stores a tier; a percentage is stored as one."""
    is_percentage = version.charge_model == ChargeModelName.GRADUATED_PERCENTAGE
    return PriceTier(
        price_version=version,
        up_to=tier.up_to,
        unit_amount=ZERO if is_percentage else tier.unit_amount,
        rate_percent=tier.unit_amount if is_percentage else None,
        flat_amount=tier.flat_amount,
        package_size=tier.package_size,
    )


def rows_of(rows: Iterable[PriceMatrixRow]) -> tuple[MatrixRow, ...]:
    in_order = sorted(rows, key=lambda row: row.position)
    return tuple(MatrixRow(values=tuple(row.values), unit_amount=row.unit_amount) for row in in_order)


def row_of(row: MatrixRow, position: int, version: PriceVersion) -> PriceMatrixRow:
    return PriceMatrixRow(
        price_version=version, position=position, values=list(row.values), unit_amount=row.unit_amount
    )


# --- To what is charged ----------------------------------------------------------------------------------------------


def charge_of(version: PriceVersion) -> Charge:
    """The charge that a stored price version stands for. Made once for each loaded version, for it never changes."""
    known: Charge | None = version.__dict__.get("_charge")
    if known is None:
        known = version.__dict__["_charge"] = charge_of_terms(terms_of(version), version.price.pricing_unit)
    return known


def charge_of_terms(terms: PriceTerms, pricing_unit: StoredPricingUnit | None) -> Charge:
    """The charge that terms stand for. Raises InvalidPrice for terms that cannot be charged by."""
    return Charge(
        model=_MODELS[terms.charge_model](terms),
        included_units=ZERO if terms.charge_model in _OWN_ALLOWANCE else terms.included_units or ZERO,
        prorates_included=terms.prorates_included,
        minimum=terms.minimum,
        maximum=terms.maximum,
        conversion=_conversion(terms),
        free_failures=_free_failures(terms),
        pricing_unit=_pricing_unit(terms, pricing_unit),
    )


def _conversion(terms: PriceTerms) -> Conversion | None:
    if terms.divide_by is None:
        return None
    return Conversion(terms.divide_by, terms.quantity_rounding or "")


def _free_failures(terms: PriceTerms) -> Decimal | None:
    if terms.failures == FailurePolicy.FREE:
        return None
    return terms.free_failures or ZERO


def _pricing_unit(terms: PriceTerms, unit: StoredPricingUnit | None) -> PricingUnit | None:
    if unit is None or terms.pricing_unit_rate is None:
        return None
    return PricingUnit(unit.singular, unit.plural, terms.pricing_unit_rate)


def _amount(amount: Decimal | None, column: str) -> Decimal:
    if amount is None:
        raise InvalidPrice(f"The {column} is missing. Enter it; 0 is allowed.")
    return amount


_MODELS: dict[ChargeModelName, Callable[[PriceTerms], ChargeModel | Matrix]] = {
    ChargeModelName.FLAT: lambda terms: Flat(_amount(terms.flat_amount, "flat amount")),
    ChargeModelName.PER_UNIT: lambda terms: PerUnit(_amount(terms.unit_amount, "unit amount"), terms.per_units or ONE),
    ChargeModelName.PACKAGE: lambda terms: Package(
        _amount(terms.unit_amount, "unit amount"), _amount(terms.package_size, "package size")
    ),
    ChargeModelName.GRADUATED: lambda terms: Graduated(
        terms.tiers, terms.per_units or ONE, terms.flat_fee_at_zero_usage
    ),
    ChargeModelName.VOLUME: lambda terms: Volume(terms.tiers, terms.per_units or ONE, terms.flat_fee_at_zero_usage),
    ChargeModelName.STAIRSTEP: lambda terms: Stairstep(terms.tiers, terms.flat_fee_at_zero_usage),
    ChargeModelName.PERCENTAGE: lambda terms: Percentage(
        rate_percent=_amount(terms.rate_percent, "rate percent"),
        fixed_amount=terms.fixed_amount or ZERO,
        free_transactions=Decimal(terms.free_transactions or 0),
        free_amount=terms.included_units or ZERO,
        transaction_minimum=terms.transaction_minimum,
        transaction_maximum=terms.transaction_maximum,
    ),
    ChargeModelName.GRADUATED_PERCENTAGE: lambda terms: GraduatedPercentage(terms.tiers, terms.flat_fee_at_zero_usage),
    ChargeModelName.MATRIX: lambda terms: Matrix(terms.dimensions, terms.rows, terms.per_units or ONE),
    ChargeModelName.AMOUNT_IN_EVENT: lambda terms: AmountInEvent(_amount(terms.multiplier, "multiplier")),
    ChargeModelName.SEATS: lambda terms: Seats(
        unit_amount=_amount(terms.unit_amount, "unit amount"),
        included_seats=terms.included_units or ZERO,
        prorates_added=terms.prorates_added,
        prorates_removed=terms.prorates_removed,
    ),
}
