"""Price terms as values: between the forms, the stored price versions and the charge models of ``pricing``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from apps.common.errors import InvalidInput
from apps.pricing.charge_models.base import ChargeModel, Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge
from apps.products.models import ChargeModelName, PriceTier, PriceVersion, in_tier_order


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """The amounts of one price version, in the plan version's currency; see ``PriceVersion`` for the fields."""

    flat_amount: Decimal | None = None
    unit_amount: Decimal | None = None
    per_units: Decimal = Decimal(1)
    included_units: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()


def check_terms(model: ChargeModelName, terms: PriceTerms) -> None:
    """Refuse terms that do not fit the charge model.

    Raises InvalidInput naming the field: a missing or superfluous amount, an allowance on a flat price, tiers
    with gaps or without an open end.
    """
    wanted = {ChargeModelName.FLAT: "flat_amount", ChargeModelName.PER_UNIT: "unit_amount"}.get(model)
    for field in ("flat_amount", "unit_amount"):
        amount: Decimal | None = getattr(terms, field)
        if field == wanted and amount is None:
            raise InvalidInput("Enter the amount; 0 is allowed.", field=field)
        if field != wanted and amount is not None:
            raise InvalidInput(
                f"The {model.value.replace('_', ' ')} model takes no {field.replace('_', ' ')}.", field=field
            )
        if amount is not None and amount < 0:
            raise InvalidInput("A price cannot be negative.", field=field)
    if terms.included_units < 0:
        raise InvalidInput("An allowance cannot be negative.", field="included_units")
    if model == ChargeModelName.FLAT and terms.included_units:
        raise InvalidInput("A flat price has no allowance; set it to 0.", field="included_units")
    if model == ChargeModelName.GRADUATED:
        try:
            check_tiers(terms.tiers)
        except InvalidTiers as fault:
            raise InvalidInput(str(fault), field="tiers") from fault
    elif terms.tiers:
        raise InvalidInput(f"The {model.value.replace('_', ' ')} model takes no tiers.", field="tiers")


def charge_of(version: PriceVersion) -> Charge:
    """The charge that a stored price version stands for."""
    return Charge(model=_charge_model(version), included_units=version.included_units)


def terms_of(version: PriceVersion) -> PriceTerms:
    return PriceTerms(
        flat_amount=version.flat_amount,
        unit_amount=version.unit_amount,
        per_units=version.per_units,
        included_units=version.included_units,
        tiers=tiers_of(version.tiers.all()),
    )


def tiers_of(rows: Iterable[PriceTier]) -> tuple[Tier, ...]:
    return tuple(
        Tier(up_to=row.up_to, unit_amount=row.unit_amount, flat_amount=row.flat_amount) for row in in_tier_order(rows)
    )


def _charge_model(version: PriceVersion) -> ChargeModel:
    name = ChargeModelName(version.price.charge_model)
    if name == ChargeModelName.GRADUATED:
        return Graduated(tiers=tiers_of(version.tiers.all()), per_units=version.per_units)
    if name == ChargeModelName.PER_UNIT and version.unit_amount is not None:
        return PerUnit(unit_amount=version.unit_amount, per_units=version.per_units)
    if name == ChargeModelName.FLAT and version.flat_amount is not None:
        return Flat(amount=version.flat_amount)
    raise ValueError(f"price version {version.pk} has no amount for its charge model {name}")
