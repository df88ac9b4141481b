"""Closing billing periods: many contracts, many workers, killed at any instant, and still one invoice each.

The rows are the truth. A run lists the periods to close as items; workers claim items in chunks with
``FOR UPDATE SKIP LOCKED`` and commit draft, item and contract together, so a killed worker leaves its chunk as
it was and another takes it up.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterator, Sequence

from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import F, Max, OuterRef, Subquery

from apps.closing.models import CloseItem, CloseRun, ItemState, RunState
from apps.closing.selectors import claimable_items, contracts_to_open, items_behind_another_run
from apps.common.errors import BillingError
from apps.common.history import acting
from apps.common.jobs import enqueue_after_commit
from apps.contracts.models import Contract, ContractStatus
from apps.contracts.services import close_open_periods
from apps.invoices.billed import billed_beyond, with_billed
from apps.invoices.models import Invoice
from apps.invoices.services.drafts import write_drafts
from apps.pricing.periods import Period
from apps.rating.services import UNEXPECTED_ERROR, rate_periods
from apps.rating.values import BillKind, PeriodToRate, RatedPeriod, RatingRefused
from apps.usage.services import settle_cutoff

logger = logging.getLogger(__name__)

CHUNK_SIZE = 100
PERIOD_HAS_NOT_ENDED = "period_has_not_ended"
BILLED_MEANWHILE = "billed_meanwhile"

Due = tuple[Contract, Period, BillKind]


class NothingToClose(BillingError):
    code = "nothing_to_close"

    def __init__(self) -> None:
        super().__init__(
            "No billing period is due: none has ended with its grace period over and is still open. "
            "Choose a later day, or do not wait for the grace period."
        )


def start_close_run(
    *,
    as_of: dt.datetime,
    through_date: dt.date | None = None,
    wait_for_grace: bool = True,
    retry_failed: bool = True,
    contract_ids: Collection[int] | None = None,
    actor: User | None = None,
) -> CloseRun:
    """List the periods that are due and wake the workers. Raises NothingToClose when there are none.

    An opening bill is due on the contract's first day: it bills in advance and has no usage to wait for. A period is
    due when it had ended by ``as_of`` and, unless ``wait_for_grace`` is off, its grace period was over too.
    ``through_date`` leaves out periods whose last day, in their own zone, is later, and opening bills whose first day
    is. Periods that another run holds or has closed are left out. With ``retry_failed`` off, periods that failed
    before are left to the staff.
    """
    failed_before = set() if retry_failed else _failed_periods()
    due = [
        (contract, period, kind)
        for contract, period, kind in (
            *_due_openings(as_of, contract_ids, through_date=through_date),
            *(
                (contract, period, BillKind.PERIOD)
                for contract in _contracts_with_ended_periods(as_of, contract_ids)
                for period in _due_periods(
                    contract, as_of=as_of, through_date=through_date, wait_for_grace=wait_for_grace
                )
            ),
        )
        if (contract.pk, period.start_at, kind) not in failed_before
    ]
    return _open_run(due, as_of=as_of, through_date=through_date, retry_of=None, actor=actor)


def retry_failed_items(*, run_id: int, as_of: dt.datetime, actor: User | None = None) -> CloseRun:
    """Start a new run over the periods that failed in a finished one, with what is known now.

    Later periods of these contracts are left alone, whose grace periods may not be over. Raises NothingToClose when
    all that failed was mended meanwhile.
    """
    run = CloseRun.objects.get(pk=run_id)
    failed = run.items.filter(state=ItemState.FAILED).order_by()
    openings = set(failed.filter(kind=BillKind.OPENING).values_list("contract_id", flat=True))
    failed = failed.filter(kind=BillKind.PERIOD)
    last_failed = dict(failed.values_list("contract_id").annotate(Max("period_start_at")))
    due: list[Due] = [
        (contract, period, BillKind.PERIOD)
        for contract in _contracts_with_ended_periods(as_of, last_failed)
        for period in _due_periods(contract, as_of=as_of, through_date=run.through_date, wait_for_grace=False)
        if period.start_at <= last_failed[contract.pk]
    ]
    due.extend(_due_openings(as_of, openings, through_date=run.through_date))
    return _open_run(due, as_of=as_of, through_date=run.through_date, retry_of=run, actor=actor)


def _open_run(
    due: Sequence[Due],
    *,
    as_of: dt.datetime,
    through_date: dt.date | None,
    retry_of: CloseRun | None,
    actor: User | None,
) -> CloseRun:
    """Store a run over these periods and wake the workers. Raises NothingToClose when none is left to it."""
    if not due:
        raise NothingToClose
    cutoff = settle_cutoff()
    with transaction.atomic():
        run = CloseRun.objects.create(
            started_at=as_of,
            as_of=as_of,
            through_date=through_date,
            stored_before=cutoff,
            started_by=actor,
            retry_of=retry_of,
        )
        # A period that is closed or under way elsewhere is refused by its unique constraint, and left out.
        CloseItem.objects.bulk_create(
            [
                CloseItem(
                    run=run,
                    contract=contract,
                    kind=kind,
                    period_start_at=period.start_at,
                    period_end_at=period.end_at,
                )
                for contract, period, kind in due
            ],
            ignore_conflicts=True,
            batch_size=1000,
        )
        if not run.items.exists():
            raise NothingToClose
        enqueue_after_commit("closing.work_run", run_id=run.pk)
    return run


def work_run(*, run_id: int, now: dt.datetime, chunk_size: int = CHUNK_SIZE) -> None:
    """Close chunk after chunk until the run has nothing left that can be claimed. Safe to call at any time."""
    while close_chunk(run_id=run_id, now=now, chunk_size=chunk_size):
        pass
    _finish_if_done(run_id=run_id, now=now)


@transaction.atomic
def close_chunk(*, run_id: int, now: dt.datetime, chunk_size: int = CHUNK_SIZE) -> int:
    """Close up to ``chunk_size`` periods in one transaction and return how many items were settled."""
    run = CloseRun.objects.get(pk=run_id)
    items = list(
        claimable_items(run)
        .select_related("contract__customer__billing_entity")
        .select_for_update(skip_locked=True, of=("self", "contract"))[:chunk_size]
    )
    if not items:
        return 0
    with acting(run.started_by, close_run=run.pk):
        _settle(run, items, now)
    _record(items)
    return len(items)


def _contracts_with_ended_periods(as_of: dt.datetime, contract_ids: Collection[int] | None) -> Iterator[Contract]:
    contracts = Contract.objects.active().filter(closed_through__lt=as_of)
    if contract_ids is not None:
        contracts = contracts.filter(pk__in=contract_ids)
    return contracts.select_related("customer__billing_entity").order_by("pk").iterator(chunk_size=1000)


def _failed_periods() -> set[tuple[int, dt.datetime, str]]:
    """The open periods whose close has failed and was not mended since.

    One that had not ended, or was billed meanwhile, needs no mending: the next run takes it.
    """
    failed = CloseItem.objects.filter(state=ItemState.FAILED, period_start_at__gte=F("contract__closed_through"))
    to_mend = failed.exclude(error_code__in=[PERIOD_HAS_NOT_ENDED, BILLED_MEANWHILE])
    return set(to_mend.values_list("contract_id", "period_start_at", "kind"))


def _due_openings(
    as_of: dt.datetime, contract_ids: Collection[int] | None, *, through_date: dt.date | None
) -> Iterator[Due]:
    """The opening bills of contracts whose first day has come."""
    for contract, period in contracts_to_open(as_of, contract_ids):
        if through_date is None or period.first_date <= through_date:
            yield contract, period, BillKind.OPENING


def _due_periods(
    contract: Contract, *, as_of: dt.datetime, through_date: dt.date | None, wait_for_grace: bool
) -> Iterator[Period]:
    """The contract's periods that ended in time, from the open one on."""
    if contract.closed_through == contract.ends_at:
        yield from _period_to_give_back(contract, through_date)
        return
    grace = contract.grace_period if wait_for_grace else dt.timedelta(0)
    start_at = contract.closed_through
    while start_at is not None:
        period = contract.period_at(start_at)
        if period is None or period.end_at + grace > as_of:
            return
        if through_date is not None and period.last_date > through_date:
            return
        yield period
        start_at = period.end_at


def _period_to_give_back(contract: Contract, through_date: dt.date | None) -> Iterator[Period]:
    """What a contract billed in advance of days after its end; see ``Contract.open_period``."""
    period = contract.open_period
    if period is not None and (through_date is None or period.first_date <= through_date):
        yield period


def _due_at(contract: Contract, period: Period, kind: str) -> dt.datetime:
    """The instant from which the item can be settled, without any grace."""
    if kind == BillKind.OPENING:
        return period.start_at
    return period.end_at if contract.ends_at is None else min(period.end_at, contract.ends_at)


def _settle(run: CloseRun, items: Sequence[CloseItem], now: dt.datetime) -> None:
    """Decide the outcome of each item and write what follows from it."""
    requests: list[PeriodToRate] = []
    by_contract = {item.contract_id: item for item in items}
    billed_later = billed_beyond(by_contract, cutoff=run.stored_before)
    for item in items:
        item.finished_at = now
        period = item.contract.open_period
        if period is None:
            _fail(
                item,
                code="period_is_gone",
                detail="The contract was changed and no longer covers this period.",
            )
        elif (item.contract_id, period.start_at) in billed_later:
            _fail(
                item,
                code=BILLED_MEANWHILE,
                detail="Usage up to a later instant was billed after this run had begun. The next run closes it.",
            )
        elif _due_at(item.contract, period, item.kind) > run.as_of:
            _fail(
                item,
                code=PERIOD_HAS_NOT_ENDED,
                detail="The contract was changed and this period goes on now. It is closed after its new end.",
            )
        else:
            if period.end_at != item.period_end_at:
                item.period_end_at = period.end_at
                item.save(update_fields=["period_end_at"])
            requests.append(PeriodToRate(item.contract, period, BillKind(item.kind)))
    rated: list[RatedPeriod] = []
    for result in _rate_all(run, requests):
        if isinstance(result, RatingRefused):
            _fail(by_contract[result.contract.pk], code=result.code, detail=result.detail)
        else:
            rated.append(result)
    try:
        with transaction.atomic():
            _write(rated, by_contract)
    except (DatabaseError, BillingError):
        logger.exception("close run %s: a chunk failed as a whole and is written one by one", run.pk)
        for one in rated:
            _write_alone(one, by_contract)


def _rate_all(run: CloseRun, requests: Sequence[PeriodToRate]) -> list[RatedPeriod | RatingRefused]:
    """Rate a chunk at once; if the database refuses that, one by one, so that a single contract cannot stop it."""
    try:
        with transaction.atomic():
            return rate_periods(with_billed(requests), as_of=run.as_of, stored_before=run.stored_before)
    except DatabaseError as error:
        if len(requests) == 1:
            detail = f"The usage could not be read: {error}"
            return [RatingRefused(requests[0].contract, requests[0].period, UNEXPECTED_ERROR, detail)]
        logger.exception("close run %s: a chunk is rated one by one", run.pk)
        return [result for request in requests for result in _rate_all(run, [request])]


def _write(rated: Sequence[RatedPeriod], by_contract: dict[int, CloseItem]) -> None:
    """Write the drafts of several bills and mark the periods that ended as closed."""
    to_bill = [one for one in rated if not one.is_empty]
    drafts = dict(zip([one.contract.pk for one in to_bill], write_drafts(to_bill), strict=True))
    close_open_periods({one.contract: one.period for one in rated if one.kind == BillKind.PERIOD})
    for one in rated:
        item = by_contract[one.contract.pk]
        item.invoice = drafts.get(one.contract.pk)
        item.state = ItemState.INVOICED if item.invoice else ItemState.NOTHING_TO_BILL


def _write_alone(rated: RatedPeriod, by_contract: dict[int, CloseItem]) -> None:
    item = by_contract[rated.contract.pk]
    # The failed attempt of the whole chunk may have moved the loaded contract on.
    rated.contract.refresh_from_db(fields=["closed_through", "status"])
    item.invoice = None
    try:
        with transaction.atomic():
            _write([rated], by_contract)
    except BillingError as refusal:
        _fail(item, code=refusal.code, detail=refusal.detail)
    except DatabaseError as error:
        logger.exception("closing %s failed", item)
        _fail(item, code=UNEXPECTED_ERROR, detail=f"The draft could not be written: {error}")


def _record(items: Sequence[CloseItem]) -> None:
    """Store the outcomes: the many that went well by one statement for each outcome, the failed one by one."""
    drafts = Invoice.objects.live().filter(
        contract=OuterRef("contract"), period_start_at=OuterRef("period_start_at"), kind=OuterRef("kind")
    )
    for state in (ItemState.INVOICED, ItemState.NOTHING_TO_BILL):
        settled = [item for item in items if item.state == state]
        if settled:
            CloseItem.objects.filter(pk__in=[item.pk for item in settled]).update(
                state=state, invoice_id=Subquery(drafts.values("pk")), finished_at=settled[0].finished_at
            )
    for item in items:
        if item.state == ItemState.FAILED:
            item.save()


def _fail(item: CloseItem, *, code: str, detail: str) -> None:
    item.state = ItemState.FAILED
    item.error_code = code
    item.error_detail = detail


@transaction.atomic
def _finish_if_done(*, run_id: int, now: dt.datetime) -> None:
    """Finish the run unless another worker still holds items of it, or another run a period before them."""
    run = CloseRun.objects.select_for_update().get(pk=run_id)
    # First what waits for another run, then what can be claimed: in between, the one only turns into the other.
    if run.state == RunState.FINISHED or items_behind_another_run(run).exists() or claimable_items(run).exists():
        return
    waiting = run.items.filter(state=ItemState.PENDING)
    # The first period was closed before its opening bill was made, and bills these fees itself.
    waiting.filter(kind=BillKind.OPENING, contract__closed_through__gt=F("period_start_at")).update(
        state=ItemState.NOTHING_TO_BILL, finished_at=now
    )
    waiting.exclude(contract__status=ContractStatus.ACTIVE).update(
        state=ItemState.FAILED,
        error_code="contract_has_ended",
        error_detail="The contract ended meanwhile and no longer covers this period. There is nothing to mend.",
        finished_at=now,
    )
    waiting.update(
        state=ItemState.FAILED,
        error_code="earlier_period_open",
        error_detail="An earlier period of this contract is not closed yet. Mend that one, then retry.",
        finished_at=now,
    )
    run.state = RunState.FINISHED
    run.finished_at = now
    run.save(update_fields=["state", "finished_at"])
