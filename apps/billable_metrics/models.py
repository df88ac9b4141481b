"""What is counted: how usage events become a quantity."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.common.fields import CodeField
from apps.common.history import tracked


class Aggregation(models.TextChoices):
    COUNT = "count", "Count of events"
    SUM = "sum", "Sum of a property"


@tracked()
class BillableMetric(models.Model):
    """A quantity measured from events of one type, such as “input tokens”.

    ``count`` counts the events; ``sum`` adds up the number in ``value_property`` of each event's data.
    Metrics are applied when usage is read, so a new metric measures past events too.
    """

    code = CodeField(unique=True, help_text="Used in the API and in exports, such as input_tokens.")
    name = models.CharField(max_length=100, help_text="Printed on invoices, such as “Input tokens”.")
    description = models.TextField(blank=True)
    event_type = models.CharField(
        max_length=200, help_text="The type of the events that are measured, such as llm.completion."
    )
    aggregation = models.CharField(max_length=16, choices=Aggregation.choices, default=Aggregation.COUNT)
    value_property = models.CharField(
        max_length=100,
        blank=True,
        help_text="For a sum: the key in the event's data that holds the number, such as input_tokens.",
    )
    unit_singular = models.CharField(max_length=40, default="unit", help_text="Plain word for one unit, such as token.")
    unit_plural = models.CharField(max_length=40, default="units", help_text="For several, such as tokens.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["event_type"])]
        constraints = [
            models.CheckConstraint(
                name="metric_property_goes_with_sum",
                condition=Q(aggregation="count", value_property="") | (Q(aggregation="sum") & ~Q(value_property="")),
                violation_error_message="A sum needs a value property; a count takes none.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.aggregation == Aggregation.SUM and not self.value_property:
            raise ValidationError({"value_property": "Name the property to add up, such as input_tokens."})
        if self.aggregation == Aggregation.COUNT and self.value_property:
            raise ValidationError({"value_property": "A count takes no property. Leave this empty, or choose Sum."})

    def describe(self) -> str:
        """The metric in words, for staff: what is measured and how."""
        if self.aggregation == Aggregation.COUNT:
            return f"Number of {self.event_type} events"
        return f"Sum of {self.value_property} over {self.event_type} events"
