"""What staff ask of the explorer: from the address of the page to a query."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.billable_metrics.definitions import FilterOperator, PropertyFilter
from apps.billable_metrics.models import MetricVersion
from apps.common.errors import BillingError, InvalidInput
from apps.common.formatting import format_instant
from apps.customers.models import Customer
from apps.customers.selectors import customers_by_subject
from apps.usage.selectors import EventQuery, MeasuredUsage, UsageWindow, events_of, measure_usage
from apps.usage.selectors.explorer import DAY, last_day_with_events, latest_event_of

RANGES = {
    "hour": ("Last hour", dt.timedelta(hours=1)),
    "day": ("Last 24 hours", DAY),
    "week": ("Last 7 days", 7 * DAY),
    "month": ("Last 31 days", 31 * DAY),
}
LONGEST_RANGE = 366 * DAY
WINDOW_PARAMETERS = ("customer", "metric_version", "window_start", "window_end", "stored_before")


def customer_named(text: str) -> Customer:
    """The customer with this external ID, alias or whole name. Raises InvalidInput."""
    text = text.strip()
    found = customers_by_subject([text]).get(text)
    if found is not None:
        return Customer.objects.get(pk=found)
    named = list(Customer.objects.filter(name__iexact=text)[:2])
    if len(named) == 1:
        return named[0]
    several = "Several customers have this name. Use the external ID."
    raise InvalidInput(several if named else "No customer has this ID, alias or name.", field="customer")


class SearchForm(forms.Form):
    """The filters of the explorer. Each is a whole value; nothing is searched by parts."""

    q = forms.CharField(label="Event ID or subject", required=False, max_length=512)
    customer = forms.CharField(label="Customer", required=False, max_length=200)
    type = forms.CharField(required=False, max_length=200, widget=forms.TextInput({"list": "event-types"}))
    subject = forms.CharField(required=False, max_length=256)
    source = forms.CharField(required=False, max_length=512, widget=forms.TextInput({"list": "event-sources"}))
    data_property = forms.CharField(label="Property of data", required=False, max_length=200)
    operator = forms.ChoiceField(required=False, choices=[("", "is"), *FilterOperator.choices[1:]])
    value = forms.CharField(required=False, max_length=512)
    attributed = forms.ChoiceField(
        label="Attribution", required=False, choices=[("", "Any"), ("yes", "Has a customer"), ("no", "Unattributed")]
    )
    voided = forms.ChoiceField(
        label="Corrected", required=False, choices=[("", "Any"), ("no", "Counts"), ("yes", "Voided")]
    )
    range = forms.ChoiceField(
        label="Event time",
        required=False,
        choices=[
            ("", "Last 24 hours with events"),
            *((key, name) for key, (name, _) in RANGES.items()),
            ("custom", "From … to …"),
        ],
    )
    start = forms.DateTimeField(
        label="From (UTC)", required=False, widget=forms.DateTimeInput({"type": "datetime-local", "step": "1"})
    )
    end = forms.DateTimeField(
        label="To (UTC)", required=False, widget=forms.DateTimeInput({"type": "datetime-local", "step": "1"})
    )

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.query: EventQuery | None = None
        self.range_label = ""

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = self.cleaned_data
        customer = self._customer(given.get("customer", ""))
        condition = self._condition(given)
        if self.errors:
            return given
        event_id, subject = self._id_or_subject(given)
        start_at, end_at = self._range(given, customer, subject)
        if self.errors:
            return given
        self.query = EventQuery(
            start_at=start_at,
            end_at=end_at,
            event_id=event_id,
            customer_id=customer.pk if customer else None,
            customer_name=customer.name if customer else "",
            type=given["type"],
            subject=subject,
            source=given["source"],
            condition=condition,
            is_attributed={"yes": True, "no": False}.get(given["attributed"]),
            is_voided={"yes": True, "no": False}.get(given["voided"]),
        )
        return given

    @property
    def is_filtered(self) -> bool:
        return any(self.data.get(name) for name in self.fields)

    def _customer(self, text: str) -> Customer | None:
        if not text.strip():
            return None
        try:
            return customer_named(text)
        except BillingError as refusal:
            self.add_error("customer", refusal.detail)
            return None

    def _condition(self, given: dict[str, Any]) -> PropertyFilter | None:
        name, value = given.get("data_property", ""), given.get("value", "")
        if not name:
            if value:
                self.add_error("data_property", "Name the property that has this value.")
            return None
        operator = FilterOperator(given.get("operator") or FilterOperator.EQ)
        needs_none = operator in (FilterOperator.EXISTS, FilterOperator.NOT_EXISTS)
        is_list = operator in (FilterOperator.IN, FilterOperator.NOT_IN)
        values = [part.strip() for part in value.split(",")] if is_list else [value]
        condition = PropertyFilter(name, operator, () if needs_none else tuple(values))
        try:
            condition.check()
        except BillingError as refusal:
            self.add_error("value", refusal.detail)
            return None
        return condition

    @staticmethod
    def _id_or_subject(given: dict[str, Any]) -> tuple[str, str]:
        """One box finds both: what is no event's ID is taken for a subject."""
        text = given["q"].strip()
        if not text:
            return "", given["subject"].strip()
        far = dt.datetime.min.replace(tzinfo=dt.UTC)
        if given["subject"] or EventQuery(far, far, event_id=text).events().exists():
            return text, given["subject"].strip()
        return "", text

    def _range(self, given: dict[str, Any], customer: Customer | None, subject: str) -> tuple[dt.datetime, dt.datetime]:
        now = timezone.now()
        start_at, end_at, chosen = given["start"], given["end"], given["range"]
        if start_at or end_at or chosen == "custom":
            end_at = end_at or (start_at + DAY if start_at else now)
            start_at = start_at or end_at - DAY
            if start_at >= end_at:
                self.add_error("end", "The end lies behind the start.")
            elif end_at - start_at > LONGEST_RANGE:
                self.add_error("end", "At most 366 days are looked through at once.")
            self.range_label = f"{format_instant(start_at)} to {format_instant(end_at)}"
            return start_at, end_at
        if chosen:
            label, length = RANGES[chosen]
            self.range_label = f"{label}, up to now"
            # Clocks of senders may run ahead of ours.
            return now - length, now + DAY
        return self._last_day(now, customer, subject)

    def _last_day(self, now: dt.datetime, customer: Customer | None, subject: str) -> tuple[dt.datetime, dt.datetime]:
        latest = None
        if customer is not None:
            latest = latest_event_of(customer_id=customer.pk)
        elif subject:
            owner = customers_by_subject([subject]).get(subject)
            latest = latest_event_of(customer_id=owner, subject=subject)
        if latest is not None:
            start_at, end_at = latest - DAY, latest + dt.timedelta(microseconds=1)
        else:
            start_at, end_at = last_day_with_events(now=now)
        if end_at > now:
            self.range_label = "Last 24 hours"
        else:
            self.range_label = f"Last 24 hours with events: {format_instant(start_at)} to {format_instant(end_at)}"
        return start_at, end_at


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """The events behind a figure, as the address of the list names them."""

    customer: Customer
    window: UsageWindow
    stored_before: dt.datetime | None

    def events(self) -> Any:
        return events_of(self.window, stored_before=self.stored_before)

    def measured(self) -> MeasuredUsage:
        [usage] = measure_usage([self.window], stored_before=self.stored_before)
        return usage


class NoWindow(BillingError):
    """An address that names no whole window of usage."""

    code = "no_window"
    status = 400

    def __init__(self) -> None:
        super().__init__("This link names no whole window of usage, so all events are shown.")


def asked_window(query: QueryDict) -> AskedWindow | None:
    """Read a window from an address, so that an invoice line can link to exactly its events. Raises NoWindow."""
    given = query.dict()
    if not any(name in given for name in WINDOW_PARAMETERS[1:]):
        return None
    try:
        customer = Customer.objects.get(pk=int(str(given["customer"])))
        version = MetricVersion.objects.select_related("metric").get(pk=int(str(given["metric_version"])))
        start_at, end_at = _instant(str(given["window_start"])), _instant(str(given["window_end"]))
        stored_before = _instant(str(given["stored_before"])) if given.get("stored_before") else None
    except (KeyError, ValueError, Customer.DoesNotExist, MetricVersion.DoesNotExist) as error:
        raise NoWindow from error
    return AskedWindow(customer, UsageWindow(customer.pk, version, start_at, end_at), stored_before)


def _instant(text: str) -> dt.datetime:
    instant = parse_datetime(text)
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"{text} is no instant with a zone")
    return instant
