"""Writes that decide whether a contract follows the list prices of its plan or keeps those of a day.

Only the open period and later ones are concerned: where a change would reach further back, the phase is split where
the open period begins, so that closed periods rate as they did.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.errors import BillingError, InvalidInput
from apps.common.formatting import format_instant
from apps.common.history import acting
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.pricing.periods import local_date
from apps.products.models import PlanVersion

LONGEST_REASON = 200
_AT_ONCE = 500


class ContractHasEnded(BillingError):
    code = "contract_has_ended"

    def __init__(self, contract: Contract) -> None:
        super().__init__(f"{contract} has ended and is billed to its end, so no price applies to it any more.")


@transaction.atomic
def grandfather_contract(
    *, contract_id: int, at: dt.datetime, now: dt.datetime, reason: str, actor: User | None = None
) -> Contract:
    """Let a contract keep the prices in force at ``at``, as known then, from the day of ``at`` on.

    Periods that are closed stand. Raises ContractHasEnded; InvalidInput for no reason, and for an instant in the
    future or before a plan of the contract was published.
    """
    contract = _lock(contract_id)
    phases = _phases_to_come(contract)
    _check_at(at, now, (phase.plan_version for phase in phases))
    reason = _checked(reason)
    with acting(actor, reason=reason):
        _write(phases, at=at, reason=reason)
    return contract


@transaction.atomic
def follow_list_prices(*, contract_id: int, reason: str, actor: User | None = None) -> Contract:
    """Let a contract that keeps its prices follow the list prices again, from the open period on.

    Raises ContractHasEnded, InvalidInput for no reason or a contract that follows already.
    """
    contract = _lock(contract_id)
    phases = [phase for phase in _phases_to_come(contract) if phase.grandfathered_at is not None]
    if not phases:
        raise InvalidInput(f"{contract} follows the list prices already.")
    with acting(actor, reason=_checked(reason)):
        _write(phases, at=None, reason="")
    return contract


@transaction.atomic
def grandfather_all(
    *, plan_version_id: int, at: dt.datetime, now: dt.datetime, reason: str, actor: User | None = None
) -> int:
    """Let every contract that follows the list prices of a plan version keep those of ``at``; return how many.

    Drafts are among them; contracts that keep other prices already are left as they are, and so are other plans of
    the same contracts. Raises InvalidInput as ``grandfather_contract`` does.
    """
    plan_version = PlanVersion.objects.select_related("plan").get(pk=plan_version_id)
    _check_at(at, now, [plan_version])
    reason = _checked(reason)
    following = ContractPhase.objects.filter(plan_version=plan_version, grandfathered_at=None)
    # Locked in one order, so that two who do this at once do not wait for one another in a circle.
    going_on = Contract.objects.select_for_update(of=("self",)).exclude(status=ContractStatus.ENDED).order_by("pk")
    contracts = {contract.pk: contract for contract in going_on.filter(pk__in=following.values("contract"))}
    phases = []
    for phase in following.filter(contract__in=contracts):
        phase.contract, phase.plan_version = contracts[phase.contract_id], plan_version
        if not _is_over(phase):
            phases.append(phase)
    with acting(actor, reason=reason):
        _write(phases, at=at, reason=reason)
    return len({phase.contract_id for phase in phases})


def check_kept_prices(phase: ContractPhase, plan_version: PlanVersion) -> None:
    """Raise InvalidInput when a phase that keeps the prices of a day is put on a plan that had none then."""
    kept = phase.grandfathered_at
    if kept is not None and plan_version.published_at is not None and kept < plan_version.published_at:
        raise InvalidInput(
            f"This contract keeps the prices of {format_instant(kept)}, and {plan_version} was published after that. "
            "Let the contract follow the list prices first.",
            field="plan_version",
        )


def _lock(contract_id: int) -> Contract:
    contract = Contract.objects.select_for_update(of=("self",)).select_related("customer").get(pk=contract_id)
    if contract.status == ContractStatus.ENDED:
        raise ContractHasEnded(contract)
    return contract


def _phases_to_come(contract: Contract) -> list[ContractPhase]:
    phases = list(contract.phases.select_related("plan_version__plan"))
    for phase in phases:
        phase.contract = contract
    return [phase for phase in phases if not _is_over(phase)]


def _open_from(contract: Contract) -> dt.date | None:
    """The first day of the open period; None for a draft, of which nothing is closed."""
    return None if contract.closed_through is None else local_date(contract.closed_through, contract.timezone)


def _is_over(phase: ContractPhase) -> bool:
    """Whether every day of a phase is billed."""
    open_from = _open_from(phase.contract)
    return open_from is not None and phase.end_date is not None and phase.end_date <= open_from


def _check_at(at: dt.datetime, now: dt.datetime, plan_versions: Iterable[PlanVersion]) -> None:
    if at > now:
        raise InvalidInput("Prices of the future are not known yet. Choose today or an earlier day.", field="at")
    for version in plan_versions:
        if version.published_at is None or version.published_at > at:
            since = f"published on {format_instant(version.published_at)}" if version.published_at else "a draft"
            raise InvalidInput(f"{version} was {since}. Choose a later day.", field="at")


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise InvalidInput("Say why, such as “loyalty agreement”.", field="reason")
    if len(reason) > LONGEST_REASON:
        raise InvalidInput(f"Shorten the reason to {LONGEST_REASON} characters.", field="reason")
    return reason


def _write(phases: Sequence[ContractPhase], *, at: dt.datetime | None, reason: str) -> None:
    added = []
    for phase in phases:
        open_from = _open_from(phase.contract)
        if open_from is not None and phase.start_date < open_from and _reaches_back(phase, at):
            added.append(
                ContractPhase(
                    contract=phase.contract,
                    plan_version=phase.plan_version,
                    start_date=open_from,
                    end_date=phase.end_date,
                    grandfathered_at=at,
                    grandfather_reason=reason,
                )
            )
            phase.end_date = open_from
        else:
            phase.grandfathered_at, phase.grandfather_reason = at, reason
    fields = ["end_date", "grandfathered_at", "grandfather_reason"]
    ContractPhase.objects.bulk_update(phases, fields, batch_size=_AT_ONCE)
    ContractPhase.objects.bulk_create(added, batch_size=_AT_ONCE)


def _reaches_back(phase: ContractPhase, at: dt.datetime | None) -> bool:
    """Whether the change would give closed periods other prices: before the day that is kept, the list holds."""
    closed_through = phase.contract.closed_through
    return any(
        kept is not None and closed_through is not None and kept < closed_through
        for kept in (phase.grandfathered_at, at)
    )
