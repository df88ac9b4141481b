"""What is odd about a plan as a whole, beside the others that are sold. Warnings as those of ``lint``; none blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.common.formatting import format_money
from apps.pricing.charge_models.base import Usage
from apps.pricing.formatting import format_quantity
from apps.pricing.money import EXACT
from apps.products.estimates import UsageNotPriced, estimate
from apps.products.lint import Finding, is_unlimited
from apps.products.models import ChargeModelName, PlanStatus, PlanVersion, Price, PriceVersion, Recurrence
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.terms import charge_of, terms_of

ZERO = Decimal(0)

_BY_QUANTITY = frozenset(
    [
        ChargeModelName.PER_UNIT,
        ChargeModelName.PACKAGE,
        ChargeModelName.GRADUATED,
        ChargeModelName.VOLUME,
        ChargeModelName.STAIRSTEP,
    ]
)


def lint_plan_version(
    plan_version: PlanVersion, prices: Iterable[Price], *, as_of: dt.datetime | None = None
) -> list[Finding]:
    """What is odd about a plan as a whole, beside the others that are sold: its prices have findings of their own.

    The amounts are those that hold on the day of ``as_of``, or, without it, the ones recorded last.
    """
    own = [price for price in prices if any(True for _ in price.versions.all())]
    findings = []
    for currency in plan_version.currencies:
        offer = _Offer.of(plan_version, own, currency, as_of)
        findings += list(_unlimited_plan(offer))
        findings += list(_dearer_than_next(offer, _offers_beside(plan_version, currency, as_of)))
    return findings


@dataclass(frozen=True, slots=True)
class _Offer:
    """A plan version in one currency: its recurring fees together, and what it charges for usage."""

    plan_version: PlanVersion
    currency: str
    fees: Decimal
    metered: tuple[PriceVersion, ...]

    @classmethod
    def of(cls, plan_version: PlanVersion, prices: Iterable[Price], currency: str, as_of: dt.datetime | None) -> _Offer:
        fees, metered = ZERO, []
        for price in prices:
            version = _amounts(price, currency, as_of)
            if version is None:
                continue
            version.price = price
            if price.metric_id is not None:
                metered.append(version)
            elif price.recurrence == Recurrence.RECURRING:
                fees = EXACT.add(fees, estimate(charge_of(version), Usage(ZERO), currency=currency).exact)
        return cls(plan_version, currency, fees, tuple(metered))


def _amounts(price: Price, currency: str, as_of: dt.datetime | None) -> PriceVersion | None:
    recorded = list(price.versions.all())
    if as_of is None:
        in_currency = [version for version in recorded if version.currency == currency]
        return max(in_currency, key=lambda version: (version.recorded_at, version.pk), default=None)
    return version_in_force(recorded, currency=currency, on=as_of.date(), known_at=as_of)


def _unlimited_plan(offer: _Offer) -> Iterator[Finding]:
    if offer.fees and offer.metered and all(is_unlimited(terms_of(version)) for version in offer.metered):
        fees = format_money(offer.fees, offer.currency)
        yield Finding(
            "unlimited_without_cap",
            "tiers",
            f"{offer.plan_version.plan} gives usage without end for {fees}.",
            "One customer can cause any cost for the same fee. Give what lies beyond a fair amount a price.",
        )


def _offers_beside(plan_version: PlanVersion, currency: str, as_of: dt.datetime | None) -> list[_Offer]:
    """The other plans that are sold now, in their newest version, billed as often and in the same currency."""
    newest: dict[int, PlanVersion] = {}
    sold = (
        PlanVersion.objects.filter(
            status=PlanStatus.PUBLISHED,
            billing_months=plan_version.billing_months,
            currencies__contains=[currency],
        )
        .exclude(plan=plan_version.plan_id)
        .select_related("plan")
        .order_by("number")
    )
    for version in sold:
        newest[version.plan_id] = version
    prices = prices_by_plan_version([version.pk for version in newest.values()])
    return [_Offer.of(version, prices.get(version.pk, []), currency, as_of) for version in newest.values()]


def _dearer_than_next(offer: _Offer, others: Sequence[_Offer]) -> Iterator[Finding]:
    """Usage that the next plan includes costs more here, with the overage, than there."""
    for other in sorted(others, key=lambda each: (each.fees, each.plan_version.pk)):
        if other.fees <= offer.fees:
            continue
        found = [finding for version in offer.metered for finding in _compare(offer, version, other)]
        yield from found
        if any(_same_charge(version, there) for version in offer.metered for there in other.metered):
            return  # Only the next plan that sells the same is one that a customer would move to.


def _same_charge(here: PriceVersion, there: PriceVersion) -> bool:
    return (here.price.product_id, here.price.metric_id) == (there.price.product_id, there.price.metric_id)


def _compare(offer: _Offer, version: PriceVersion, other: _Offer) -> Iterator[Finding]:
    if version.charge_model not in _BY_QUANTITY or not version.included_units:
        return
    for there in other.metered:
        included = there.included_units
        if not _same_charge(version, there) or there.charge_model not in _BY_QUANTITY or not included:
            continue
        here_cost, there_cost = _cost(offer, version, included), _cost(other, there, included)
        if here_cost is None or there_cost is None or here_cost <= there_cost:
            continue
        units = f"{format_quantity(included)} {version.price.metric.unit_plural if version.price.metric else ''}"
        yield Finding(
            "overage_dearer_than_next_plan",
            "unit_amount",
            f"{units.strip()} cost {format_money(here_cost, offer.currency)} here with the overage on "
            f"“{version.price}”, and {format_money(there_cost, offer.currency)} on {other.plan_version.plan}.",
            "Customers are better off on the dearer plan and will ask why they were not told. Lower the overage, or "
            "raise the fee there.",
        )


def _cost(offer: _Offer, version: PriceVersion, quantity: Decimal) -> Decimal | None:
    """The fees of a plan and one of its charges, rounded as on an invoice."""
    try:
        usage = estimate(charge_of(version), Usage(quantity), currency=offer.currency)
    except UsageNotPriced:
        return None
    return EXACT.add(offer.fees, usage.amount)
