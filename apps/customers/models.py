"""Who sells and who buys: billing entities and customers, and the names that usage events know them by."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django_countries.fields import CountryField

from apps.common.fields import CurrencyCodeField, IdentifierField, ZoneField
from apps.common.history import tracked
from apps.customers.parties import Party


class PostalAddress(models.Model):
    """The address parts that invoices print."""

    line1 = models.CharField("address", max_length=200, blank=True)
    line2 = models.CharField("address, second line", max_length=200, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField("state or region", max_length=100, blank=True)
    country = CountryField(blank=True)
    tax_id = models.CharField("tax ID", max_length=40, blank=True, help_text="VAT or tax number, printed on invoices.")
    email = models.EmailField("billing email", blank=True)

    class Meta:
        abstract = True

    def _party(self, name: str) -> Party:
        return Party(
            name=name,
            line1=self.line1,
            line2=self.line2,
            postal_code=self.postal_code,
            city=self.city,
            region=self.region,
            country=self.country.code or "",
            tax_id=self.tax_id,
            email=self.email,
        )


@tracked()
class BillingEntity(PostalAddress):
    """A legal company of ours that issues invoices, with its own number series and terms.

    ``grace_period_hours`` is how long after a period's end its close waits for late events.
    """

    name = models.CharField(max_length=100, unique=True, help_text="How staff call it.")
    legal_name = models.CharField(max_length=200, help_text="The company name printed on invoices.")
    timezone = ZoneField(help_text="Invoice dates are days in this zone.")
    default_currency = CurrencyCodeField(default="USD")
    invoice_prefix = models.CharField(
        max_length=12,
        unique=True,
        help_text="Invoice numbers are PREFIX-YEAR-00001. Two entities never share a prefix.",
    )
    payment_terms_days = models.PositiveSmallIntegerField(default=30, validators=[MaxValueValidator(365)])
    grace_period_hours = models.PositiveSmallIntegerField(
        default=24,
        validators=[MaxValueValidator(24 * 45)],
        help_text="Hours after a period ends before it is closed, so that late events still make it in.",
    )
    payment_instructions = models.TextField(blank=True, help_text="Bank details, printed on invoices.")
    invoice_footer = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "billing entities"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.invoice_prefix = self.invoice_prefix.strip().upper()
        if not self.invoice_prefix.replace("-", "").isalnum():
            raise ValidationError({"invoice_prefix": "Use letters and digits only, such as ACME."})

    def as_party(self) -> Party:
        """The seller as an invoice prints it."""
        return self._party(self.legal_name)


@tracked()
class Customer(PostalAddress):
    """A company or person that is billed.

    Usage events name it by ``external_id`` or by one of its aliases, in their ``subject``.
    """

    external_id = IdentifierField(
        "external ID",
        unique=True,
        help_text="Your own ID of this customer. Usage events carry it as their subject.",
    )
    name = models.CharField(max_length=200)
    legal_name = models.CharField(
        max_length=200, blank=True, help_text="Printed on invoices; the name is used when this is empty."
    )
    billing_entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="customers")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    timezone = ZoneField(help_text="Billing days and periods begin at midnight in this zone.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if CustomerAlias.objects.filter(alias=self.external_id).exclude(customer_id=self.pk).exists():
            raise ValidationError({"external_id": "Another customer has this ID as an alias. Choose another ID."})
        ancestor = self.parent
        while ancestor is not None:
            if self.pk is not None and ancestor.pk == self.pk:
                raise ValidationError({"parent": "A customer cannot be its own parent, also not by way of others."})
            ancestor = ancestor.parent

    def as_party(self) -> Party:
        """The buyer as an invoice prints it."""
        return self._party(self.legal_name or self.name)


@tracked()
class CustomerAlias(models.Model):
    """Another name that events use for a customer: a workspace, an API project, a subscription of an old system."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="aliases")
    alias = IdentifierField(unique=True)

    class Meta:
        verbose_name_plural = "aliases"
        ordering = ["alias"]

    def __str__(self) -> str:
        return self.alias

    def clean(self) -> None:
        if Customer.objects.filter(external_id=self.alias).exclude(pk=self.customer_id).exists():
            raise ValidationError({"alias": "This is the external ID of another customer. Choose another alias."})
