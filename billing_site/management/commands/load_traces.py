"""Bill real LLM inference through the public API: two public traces as two customers on GPT-4 Turbo prices."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from apps.access.models import Scope
from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric
from apps.closing.models import CloseRun, RunState
from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.common.formatting import format_days, format_money
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import BillingEntity, Customer
from apps.invoices.models import Invoice
from apps.invoices.pdf import pdf_support
from apps.invoices.services.documents import DocumentPending, document_of, render_pending_documents
from apps.invoices.services.issuing import issue_invoices
from apps.products.models import ChargeModelName, PlanStatus, PlanVersion, Product
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version
from apps.products.terms import PriceTerms
from billing_site.local_keys import kept_api_key

SOURCE = "azure-llm-inference-trace-2023"
EVENT_TYPE = "azure.llm_inference"
FIRST_DAY, END_DAY = dt.date(2023, 11, 1), dt.date(2023, 12, 1)
BATCH_SIZE = 1000
MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace file and the customer whose usage it is."""

    file_name: str
    customer_id: str
    customer_name: str


TRACES = (
    Trace("AzureLLMInferenceTrace_code.csv", "azure-code", "Azure code completion"),
    Trace("AzureLLMInferenceTrace_conv.csv", "azure-conv", "Azure conversation"),
)


class Command(BaseCommand):
    help = (
        "Send the Azure LLM inference traces (2023) in DIR through the HTTP API as two customers' usage, close "
        "November 2023, issue the invoices and print them. Running it again changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="folder with the two CSV files")
        parser.add_argument("--base-url", required=True, help="where the site answers, such as http://127.0.0.1:8000")
        parser.add_argument("--api-key", default="", help="a key with the ingest scope (default: one of its own)")
        parser.add_argument(
            "--pdf-dir", type=Path, default=None, help="where to write the PDFs (default: var/invoices)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        directory: Path = options["directory"]
        for trace in TRACES:
            if not (directory / trace.file_name).is_file():
                raise CommandError(f"{directory} has no {trace.file_name}. Name the folder that holds the traces.")
        now = timezone.now()
        contracts = [_contract_for(trace, now) for trace in TRACES]
        key = options["api_key"] or kept_api_key("load-traces", scopes=[Scope.INGEST], now=now)
        for trace in TRACES:
            self._send(directory / trace.file_name, trace, options["base_url"].rstrip("/"), key)
        _close(contracts)
        _issue(contracts)
        self._print(contracts, options["pdf_dir"] or settings.VAR_DIR / "invoices")

    def _send(self, path: Path, trace: Trace, base_url: str, key: str) -> None:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {key}"
        session.headers["Content-Type"] = "application/cloudevents-batch+json"
        accepted = duplicates = 0
        events = read_events(path, trace)
        while batch := list(itertools.islice(events, BATCH_SIZE)):
            try:
                answer = session.post(f"{base_url}/api/v1/events", data=json.dumps(batch), timeout=60)
            except requests.ConnectionError as error:
                raise CommandError(f"Nothing answers at {base_url}. Start the site with ./dev demo first.") from error
            if answer.status_code != 204:
                raise CommandError(f"The API refused a batch ({answer.status_code}): {answer.text}")
            accepted += int(answer.headers["Countinghouse-Accepted"])
            duplicates += int(answer.headers["Countinghouse-Duplicates"])
        self.stdout.write(f"{trace.customer_name}: {accepted:,} events accepted, {duplicates:,} known already")

    def _print(self, contracts: list[Contract], pdf_dir: Path) -> None:
        pdf_dir.mkdir(parents=True, exist_ok=True)
        for invoice in _invoices(contracts).prefetch_related("lines"):
            days = format_days(invoice.period.first_date, invoice.period.last_date)
            self.stdout.write(f"\n{invoice.number}  {invoice.customer.name}  {days}")
            for line in invoice.lines.all():
                self.stdout.write(
                    f"  {line.description:<16}{line.quantity:>14,.0f} {line.unit_plural:<8}"
                    f"{format_money(line.amount):>12}"
                )
            self.stdout.write(f"  {'Total':<38}{format_money(invoice.total):>13} {invoice.total.currency.code}")
            reason = pdf_support()
            if reason is not None:
                self.stdout.write(f"  No PDF: {reason}")
                continue
            path = pdf_dir / f"{invoice.number}.pdf"
            path.write_bytes(_document_of(invoice))
            self.stdout.write(f"  PDF: {path}")


def read_events(path: Path, trace: Trace) -> Iterator[dict[str, Any]]:
    """The rows of a trace as CloudEvents. Times are UTC with seven decimals, of which six are kept."""
    with path.open(newline="") as rows:
        for number, row in enumerate(csv.DictReader(rows), start=1):
            yield {
                "specversion": "1.0",
                "id": f"{trace.customer_id}-{number}",
                "source": SOURCE,
                "type": EVENT_TYPE,
                "subject": trace.customer_id,
                "time": f"{row['TIMESTAMP'][:26].replace(' ', 'T')}Z",
                "data": {
                    "input_tokens": int(row["ContextTokens"]),
                    "output_tokens": int(row["GeneratedTokens"]),
                },
            }


@transaction.atomic
def _contract_for(trace: Trace, now: dt.datetime) -> Contract:
    seller, _ = BillingEntity.objects.get_or_create(
        name="Trace billing",
        defaults={
            "legal_name": "Trace Billing Inc.",
            "invoice_prefix": "TRACE",
            "invoice_footer": "Usage: Azure LLM inference trace 2023, Microsoft Corporation, CC-BY 4.0.",
        },
    )
    customer, _ = Customer.objects.get_or_create(
        external_id=trace.customer_id, defaults={"name": trace.customer_name, "billing_entity": seller}
    )
    existing = customer.contracts.first()
    if existing is not None:
        return existing
    contract = create_contract(
        customer=customer,
        name="GPT-4 Turbo, November 2023",
        plan_version=_plan_version(now),
        start_date=FIRST_DAY,
        end_date=END_DAY,
    )
    return activate_contract(contract_id=contract.pk, now=now)


def _plan_version(now: dt.datetime) -> PlanVersion:
    """10 USD per million input tokens, 30 USD per million output tokens: OpenAI's prices of November 2023."""
    existing = PlanVersion.objects.filter(plan__code="trace-gpt-4-turbo", status=PlanStatus.PUBLISHED).first()
    if existing is not None:
        return existing
    product, _ = Product.objects.get_or_create(code="trace-gpt-4-turbo", defaults={"name": "GPT-4 Turbo"})
    draft = create_plan(code="trace-gpt-4-turbo", name="GPT-4 Turbo trace", currencies=["USD"])
    for code, name, amount in (("input_tokens", "Input tokens", 10), ("output_tokens", "Output tokens", 30)):
        metric = BillableMetric.objects.filter(code=f"trace_{code}").first() or create_metric(
            definition=MetricDefinition(EVENT_TYPE, Aggregation.SUM, value_property=code),
            now=now,
            code=f"trace_{code}",
            name=f"{name} (trace)",
            unit_singular="token",
            unit_plural="tokens",
        )
        add_price(
            plan_version=draft,
            charged=ChargedFor(product=product, metric=metric, name=name),
            terms=PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(amount), per_units=MILLION),
            now=now,
        )
    return publish_plan_version(plan_version_id=draft.pk, now=now)


def _close(contracts: list[Contract]) -> None:
    try:
        run = start_close_run(
            as_of=timezone.now(), contract_ids=[contract.pk for contract in contracts], wait_for_grace=False
        )
    except NothingToClose:
        return
    # A worker of the running site may take some of the items; whoever comes last finishes the run.
    deadline = time.monotonic() + 120
    while CloseRun.objects.get(pk=run.pk).state != RunState.FINISHED:
        work_run(run_id=run.pk, now=timezone.now())
        if time.monotonic() > deadline:
            raise CommandError(f"{run} has not finished within two minutes; see its page in the admin.")
        time.sleep(0.05)


def _issue(contracts: list[Contract]) -> None:
    drafts = _invoices(contracts).drafts().values_list("pk", flat=True)
    _, refused = issue_invoices(invoice_ids=list(drafts), issued_at=timezone.now())
    if refused:
        raise CommandError(refused[0].detail)
    if pdf_support() is None:
        render_pending_documents(now=timezone.now(), limit=len(contracts))


def _document_of(invoice: Invoice) -> bytes:
    """The stored PDF. A worker of the running site may be at it, which takes seconds at most."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return document_of(invoice)
        except DocumentPending as pending:
            if time.monotonic() > deadline:
                raise CommandError(pending.detail) from pending
            time.sleep(0.2)


def _invoices(contracts: list[Contract]) -> Any:
    return Invoice.objects.filter(contract__in=contracts).select_related("customer", "billing_entity").order_by("pk")
