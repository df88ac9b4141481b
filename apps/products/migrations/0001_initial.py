import apps.common.fields
import apps.products.models
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("billable_metrics", "0001_initial"),
        ("pghistory", "0007_auto_20250421_0444"),
    ]

    operations = [
        migrations.CreateModel(
            name="Plan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", apps.common.fields.CodeField(max_length=64, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("description", models.TextField(blank=True)),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="PlanEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("code", apps.common.fields.CodeField(max_length=64)),
                ("name", models.CharField(max_length=100)),
                ("description", models.TextField(blank=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PlanVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(default=1, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("published", "Published"), ("archived", "Archived")],
                        default="draft",
                        editable=False,
                        max_length=10,
                    ),
                ),
                (
                    "currencies",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=apps.common.fields.CurrencyCodeField(max_length=3),
                        default=apps.products.models._us_dollar,
                        size=None,
                    ),
                ),
                (
                    "billing_months",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Monthly"), (3, "Quarterly"), (12, "Yearly")],
                        default=1,
                        verbose_name="billing interval",
                    ),
                ),
                ("published_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "ordering": ["plan__name", "-number"],
            },
        ),
        migrations.CreateModel(
            name="PlanVersionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("number", models.PositiveIntegerField(default=1, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("published", "Published"), ("archived", "Archived")],
                        default="draft",
                        editable=False,
                        max_length=10,
                    ),
                ),
                (
                    "currencies",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=apps.common.fields.CurrencyCodeField(max_length=3),
                        default=apps.products.models._us_dollar,
                        size=None,
                    ),
                ),
                (
                    "billing_months",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Monthly"), (3, "Quarterly"), (12, "Yearly")],
                        default=1,
                        verbose_name="billing interval",
                    ),
                ),
                ("published_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(help_text="The line on the invoice, such as “Input tokens”.", max_length=120),
                ),
                (
                    "recurrence",
                    models.CharField(
                        choices=[("recurring", "Each billing period"), ("one_off", "Once, when the contract starts")],
                        default="recurring",
                        max_length=10,
                    ),
                ),
                (
                    "timing",
                    models.CharField(
                        choices=[
                            ("arrears", "In arrears, after the period"),
                            ("advance", "In advance, before the period"),
                        ],
                        default="arrears",
                        max_length=10,
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Order on the invoice.")),
            ],
            options={
                "ordering": ["plan_version_id", "position", "id"],
            },
        ),
        migrations.CreateModel(
            name="PriceEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "name",
                    models.CharField(help_text="The line on the invoice, such as “Input tokens”.", max_length=120),
                ),
                (
                    "recurrence",
                    models.CharField(
                        choices=[("recurring", "Each billing period"), ("one_off", "Once, when the contract starts")],
                        default="recurring",
                        max_length=10,
                    ),
                ),
                (
                    "timing",
                    models.CharField(
                        choices=[
                            ("arrears", "In arrears, after the period"),
                            ("advance", "In advance, before the period"),
                        ],
                        default="arrears",
                        max_length=10,
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0, help_text="Order on the invoice.")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PriceMatrixRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                (
                    "values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(blank=True, max_length=500, null=True), size=None
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
            ],
            options={
                "ordering": ["price_version_id", "position"],
            },
        ),
        migrations.CreateModel(
            name="PriceMatrixRowEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("position", models.PositiveIntegerField()),
                (
                    "values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(blank=True, max_length=500, null=True), size=None
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PriceTier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "up_to",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Last unit of this tier. Leave the last tier empty.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        default=Decimal("0"),
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "flat_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        default=Decimal("0"),
                        help_text="Charged once when the tier is reached.",
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "package_size",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Each started package of so many units is charged.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "rate_percent",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="rate in percent",
                    ),
                ),
            ],
            options={
                "ordering": ["price_version_id", models.OrderBy(models.F("up_to"), nulls_last=True)],
            },
        ),
        migrations.CreateModel(
            name="PriceTierEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "up_to",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Last unit of this tier. Leave the last tier empty.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        default=Decimal("0"),
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "flat_amount",
                    apps.products.models.UnitAmountField(
                        decimal_places=12,
                        default=Decimal("0"),
                        help_text="Charged once when the tier is reached.",
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "package_size",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Each started package of so many units is charged.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "rate_percent",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="rate in percent",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PriceVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", apps.common.fields.CurrencyCodeField(default="USD", max_length=3)),
                (
                    "charge_model",
                    models.CharField(
                        choices=[
                            ("flat", "Flat fee"),
                            ("per_unit", "Per unit"),
                            ("package", "Package: each started one is charged whole"),
                            ("graduated", "Graduated: each unit at the price of its own tier"),
                            ("volume", "Volume: all units at the price of one tier"),
                            ("stairstep", "Stairstep: one amount for the whole quantity"),
                            ("percentage", "Percentage of the amounts of transactions"),
                            ("graduated_percentage", "Graduated percentage: each part at the rate of its own tier"),
                            ("matrix", "Matrix: a unit price by dimension values"),
                            ("amount_in_event", "Amount in event, times a multiplier"),
                            ("seats", "Seats, by the days they are held"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "effective_from",
                    models.DateField(
                        blank=True, help_text="First day of these amounts. Empty: from the very beginning.", null=True
                    ),
                ),
                ("recorded_at", models.DateTimeField(editable=False)),
                (
                    "flat_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The amount for one full period, or once.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The price of so many units as stated, of a package, or of a seat for a period.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "per_units",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="The number of units that a unit price is for, such as 1 or 1,000,000.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "package_size",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Units in a package; each started one is charged.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "rate_percent",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="Of each transaction's amount.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="rate in percent",
                    ),
                ),
                (
                    "fixed_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="Charged once for each transaction.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "free_transactions",
                    models.PositiveIntegerField(
                        blank=True, help_text="The first transactions of each period that are free.", null=True
                    ),
                ),
                (
                    "transaction_minimum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The least that one transaction costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "transaction_maximum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The most that one transaction costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "multiplier",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="What the events' amounts are multiplied by; 1.2 adds 20%.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "included_units",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="What is free in each period: units, seats, or an amount of money.",
                        max_digits=30,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "prorates_included",
                    models.BooleanField(
                        default=True,
                        help_text="In a part of a period, by its share of days.",
                        verbose_name="prorate what is included",
                    ),
                ),
                (
                    "minimum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The least that a full period costs, even without usage.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "maximum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The most that a full period costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "flat_fee_at_zero_usage",
                    models.BooleanField(
                        default=False, help_text="Charge the first tier's flat fee in a period without usage."
                    ),
                ),
                (
                    "divide_by",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Turns the measured quantity into billing units, such as 60 for minutes.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "quantity_rounding",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Not rounded"),
                            ("ceil", "Up: started units count"),
                            ("floor", "Down: only whole units count"),
                            ("half_up", "To the nearest, half up"),
                        ],
                        max_length=10,
                        null=True,
                    ),
                ),
                (
                    "failures",
                    models.CharField(
                        choices=[
                            ("charged", "Failed outcomes are charged like others"),
                            ("free", "Failed outcomes are free"),
                            ("free_up_to", "Failed outcomes are free up to a number"),
                        ],
                        default="charged",
                        max_length=10,
                    ),
                ),
                (
                    "free_failures",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Units of failed outcomes that are free.",
                        max_digits=30,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "prorates_added",
                    models.BooleanField(
                        default=True,
                        help_text="A seat is charged from the day it is added.",
                        verbose_name="prorate added seats",
                    ),
                ),
                (
                    "prorates_removed",
                    models.BooleanField(
                        default=True,
                        help_text="A seat is charged up to the day it is removed.",
                        verbose_name="prorate removed seats",
                    ),
                ),
                (
                    "pricing_unit_rate",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="In the currency of this price.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="worth of one pricing unit",
                    ),
                ),
                (
                    "dimensions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200),
                        blank=True,
                        default=list,
                        help_text="The properties that a matrix prices by, such as model and direction.",
                        size=None,
                    ),
                ),
                (
                    "note",
                    models.CharField(blank=True, help_text="Why the price changed, for colleagues.", max_length=200),
                ),
                ("is_sealed", models.BooleanField(default=False, editable=False)),
            ],
            options={
                "verbose_name": "price",
                "ordering": [
                    "price_id",
                    "currency",
                    models.OrderBy(models.F("effective_from"), descending=True, nulls_last=True),
                    "-recorded_at",
                    "-id",
                ],
            },
        ),
        migrations.CreateModel(
            name="PriceVersionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("currency", apps.common.fields.CurrencyCodeField(default="USD", max_length=3)),
                (
                    "charge_model",
                    models.CharField(
                        choices=[
                            ("flat", "Flat fee"),
                            ("per_unit", "Per unit"),
                            ("package", "Package: each started one is charged whole"),
                            ("graduated", "Graduated: each unit at the price of its own tier"),
                            ("volume", "Volume: all units at the price of one tier"),
                            ("stairstep", "Stairstep: one amount for the whole quantity"),
                            ("percentage", "Percentage of the amounts of transactions"),
                            ("graduated_percentage", "Graduated percentage: each part at the rate of its own tier"),
                            ("matrix", "Matrix: a unit price by dimension values"),
                            ("amount_in_event", "Amount in event, times a multiplier"),
                            ("seats", "Seats, by the days they are held"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "effective_from",
                    models.DateField(
                        blank=True, help_text="First day of these amounts. Empty: from the very beginning.", null=True
                    ),
                ),
                ("recorded_at", models.DateTimeField(editable=False)),
                (
                    "flat_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The amount for one full period, or once.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The price of so many units as stated, of a package, or of a seat for a period.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "per_units",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="The number of units that a unit price is for, such as 1 or 1,000,000.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "package_size",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Units in a package; each started one is charged.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "rate_percent",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="Of each transaction's amount.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="rate in percent",
                    ),
                ),
                (
                    "fixed_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="Charged once for each transaction.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "free_transactions",
                    models.PositiveIntegerField(
                        blank=True, help_text="The first transactions of each period that are free.", null=True
                    ),
                ),
                (
                    "transaction_minimum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The least that one transaction costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "transaction_maximum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The most that one transaction costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "multiplier",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="What the events' amounts are multiplied by; 1.2 adds 20%.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "included_units",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="What is free in each period: units, seats, or an amount of money.",
                        max_digits=30,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "prorates_included",
                    models.BooleanField(
                        default=True,
                        help_text="In a part of a period, by its share of days.",
                        verbose_name="prorate what is included",
                    ),
                ),
                (
                    "minimum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The least that a full period costs, even without usage.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "maximum",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="The most that a full period costs.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "flat_fee_at_zero_usage",
                    models.BooleanField(
                        default=False, help_text="Charge the first tier's flat fee in a period without usage."
                    ),
                ),
                (
                    "divide_by",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Turns the measured quantity into billing units, such as 60 for minutes.",
                        max_digits=30,
                        null=True,
                    ),
                ),
                (
                    "quantity_rounding",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Not rounded"),
                            ("ceil", "Up: started units count"),
                            ("floor", "Down: only whole units count"),
                            ("half_up", "To the nearest, half up"),
                        ],
                        max_length=10,
                        null=True,
                    ),
                ),
                (
                    "failures",
                    models.CharField(
                        choices=[
                            ("charged", "Failed outcomes are charged like others"),
                            ("free", "Failed outcomes are free"),
                            ("free_up_to", "Failed outcomes are free up to a number"),
                        ],
                        default="charged",
                        max_length=10,
                    ),
                ),
                (
                    "free_failures",
                    apps.products.models.QuantityField(
                        blank=True,
                        decimal_places=12,
                        help_text="Units of failed outcomes that are free.",
                        max_digits=30,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "prorates_added",
                    models.BooleanField(
                        default=True,
                        help_text="A seat is charged from the day it is added.",
                        verbose_name="prorate added seats",
                    ),
                ),
                (
                    "prorates_removed",
                    models.BooleanField(
                        default=True,
                        help_text="A seat is charged up to the day it is removed.",
                        verbose_name="prorate removed seats",
                    ),
                ),
                (
                    "pricing_unit_rate",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        help_text="In the currency of this price.",
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="worth of one pricing unit",
                    ),
                ),
                (
                    "dimensions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200),
                        blank=True,
                        default=list,
                        help_text="The properties that a matrix prices by, such as model and direction.",
                        size=None,
                    ),
                ),
                (
                    "note",
                    models.CharField(blank=True, help_text="Why the price changed, for colleagues.", max_length=200),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PricingUnit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", apps.common.fields.CodeField(max_length=64, unique=True)),
                ("singular", models.CharField(help_text="Plain word for one, such as credit.", max_length=40)),
                ("plural", models.CharField(help_text="For several, such as credits.", max_length=40)),
            ],
            options={
                "ordering": ["plural", "id"],
            },
        ),
        migrations.CreateModel(
            name="PricingUnitEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("code", apps.common.fields.CodeField(max_length=64)),
                ("singular", models.CharField(help_text="Plain word for one, such as credit.", max_length=40)),
                ("plural", models.CharField(help_text="For several, such as credits.", max_length=40)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", apps.common.fields.CodeField(max_length=64, unique=True)),
                ("name", models.CharField(help_text="Printed on invoices.", max_length=100)),
                ("description", models.TextField(blank=True)),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="ProductEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("code", apps.common.fields.CodeField(max_length=64)),
                ("name", models.CharField(help_text="Printed on invoices.", max_length=100)),
                ("description", models.TextField(blank=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="plan",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_planevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."code", NEW."description", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id"); RETURN NULL;',
                    hash="2cccc2ec77e38e68c1d0053ea823c926748ba47a",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_22984",
                    table="products_plan",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="plan",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_planevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."code", NEW."description", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id"); RETURN NULL;',
                    hash="4735d11e510391c0e032eaff5c996468a82ab152",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_969fe",
                    table="products_plan",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="plan",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_planevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."code", OLD."description", OLD."id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id"); RETURN NULL;',
                    hash="4e7e8d559da50ec92f553c8e6ee272c6f846eeda",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_54f66",
                    table="products_plan",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="planevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="planevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.plan",
            ),
        ),
        migrations.AddField(
            model_name="planversion",
            name="plan",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="products.plan"
            ),
        ),
        migrations.AddField(
            model_name="planversionevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="planversionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.planversion",
            ),
        ),
        migrations.AddField(
            model_name="planversionevent",
            name="plan",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.plan",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="metric",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prices",
                to="billable_metrics.billablemetric",
                verbose_name="metric",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="plan_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="prices", to="products.planversion"
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="metric",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="billable_metrics.billablemetric",
                verbose_name="metric",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.price",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="plan_version",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.planversion",
            ),
        ),
        migrations.AddField(
            model_name="pricematrixrowevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="pricematrixrowevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.pricematrixrow",
            ),
        ),
        migrations.AddField(
            model_name="pricetierevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="pricetierevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.pricetier",
            ),
        ),
        migrations.AddField(
            model_name="priceversion",
            name="price",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="products.price"
            ),
        ),
        migrations.AddField(
            model_name="pricetierevent",
            name="price_version",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.priceversion",
            ),
        ),
        migrations.AddField(
            model_name="pricetier",
            name="price_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="tiers", to="products.priceversion"
            ),
        ),
        migrations.AddField(
            model_name="pricematrixrowevent",
            name="price_version",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.priceversion",
            ),
        ),
        migrations.AddField(
            model_name="pricematrixrow",
            name="price_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="rows", to="products.priceversion"
            ),
        ),
        migrations.AddField(
            model_name="priceversionevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="priceversionevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.priceversion",
            ),
        ),
        migrations.AddField(
            model_name="priceversionevent",
            name="price",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.price",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="pricing_unit",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                help_text="Empty: amounts are money. Otherwise they are in this unit, such as credits.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.pricingunit",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="pricing_unit",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: amounts are money. Otherwise they are in this unit, such as credits.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prices",
                to="products.pricingunit",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricingunit",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricingunitevent" ("code", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plural", "singular") VALUES (NEW."code", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."plural", NEW."singular"); RETURN NULL;',
                    hash="d0cff35a334ba19271f66a8ca43d7488d15a494c",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_0530c",
                    table="products_pricingunit",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricingunit",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_pricingunitevent" ("code", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plural", "singular") VALUES (NEW."code", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."plural", NEW."singular"); RETURN NULL;',
                    hash="5bc5f588c430a928485ffd0fa66344c60d2a390e",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_36bfe",
                    table="products_pricingunit",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricingunit",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricingunitevent" ("code", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plural", "singular") VALUES (OLD."code", OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."plural", OLD."singular"); RETURN NULL;',
                    hash="7779f3652774e106d81dd42d8e12314eebe66fbb",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_c7146",
                    table="products_pricingunit",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="pricingunitevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="pricingunitevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.pricingunit",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="product",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="products.product",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="product",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="prices", to="products.product"
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="product",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_productevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."code", NEW."description", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id"); RETURN NULL;',
                    hash="97770e1b02a67326e060102333603a6fa4b76fb2",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_1fd97",
                    table="products_product",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="product",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_productevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."code", NEW."description", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id"); RETURN NULL;',
                    hash="c7d0107748b8d34ab500da6c32217eb8683e3ed1",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_18d15",
                    table="products_product",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="product",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_productevent" ("code", "description", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."code", OLD."description", OLD."id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id"); RETURN NULL;',
                    hash="3a477f6c2a57fbbca893840652617148abd98c9f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_cb7df",
                    table="products_product",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="productevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="productevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="products.product",
            ),
        ),
        migrations.AddIndex(
            model_name="planevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pl_pgh_cre_eba761_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="07ed1e828c1dd5f87cc3e47277315db9d06c91e1",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_7f03e",
                    table="products_planevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.UniqueConstraint(fields=("plan", "number"), name="plan_version_number_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("currencies__len__gte", 1)),
                name="plan_version_has_a_currency",
                violation_error_message="A plan is priced in at least one currency.",
            ),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("published_at", None), ("status", "draft")),
                    models.Q(models.Q(("status", "draft"), _negated=True), ("published_at__isnull", False)),
                    _connector="OR",
                ),
                name="plan_version_published_at_goes_with_status",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversion",
            trigger=pgtrigger.compiler.Trigger(
                name="status_moves",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    declare="DECLARE _is_valid_transition BOOLEAN;",
                    func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{draft:published,published:archived}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;',
                    hash="5f1d2cb54a2d7be10e890d281ddf61d27c24e159",
                    operation="UPDATE",
                    pgid="pgtrigger_status_moves_57ff0",
                    table="products_planversion",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversion",
            trigger=pgtrigger.compiler.Trigger(
                name="published_terms_stand",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."status" IN (\'published\', \'archived\') AND (OLD."plan_id" IS DISTINCT FROM (NEW."plan_id") OR OLD."number" IS DISTINCT FROM (NEW."number") OR OLD."currencies" IS DISTINCT FROM (NEW."currencies") OR OLD."billing_months" IS DISTINCT FROM (NEW."billing_months")))',
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
                    hash="987ee48b915ddad71e45688a088cb52f08f1b11b",
                    operation="UPDATE",
                    pgid="pgtrigger_published_terms_stand_3049e",
                    table="products_planversion",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversion",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_planversionevent" ("billing_months", "currencies", "id", "number", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_id", "published_at", "status") VALUES (NEW."billing_months", NEW."currencies", NEW."id", NEW."number", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."plan_id", NEW."published_at", NEW."status"); RETURN NULL;',
                    hash="78e57d1b0e6a9fe0435e63240238d537bc5d2cc9",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_05cc7",
                    table="products_planversion",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversion",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_planversionevent" ("billing_months", "currencies", "id", "number", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_id", "published_at", "status") VALUES (NEW."billing_months", NEW."currencies", NEW."id", NEW."number", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."plan_id", NEW."published_at", NEW."status"); RETURN NULL;',
                    hash="27bb84d7dc67ebe4e5a94dc5a8fbf62400e1ac59",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_e4678",
                    table="products_planversion",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversion",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_planversionevent" ("billing_months", "currencies", "id", "number", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_id", "published_at", "status") VALUES (OLD."billing_months", OLD."currencies", OLD."id", OLD."number", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."plan_id", OLD."published_at", OLD."status"); RETURN NULL;',
                    hash="6250d13d013deea25660ff9bd83d88977e67afcd",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_54b91",
                    table="products_planversion",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="planversionevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pl_pgh_cre_ac1e1f_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="planversionevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="182b9838b9938cdbb02fabd1e310acfa229a4117",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_e97ec",
                    table="products_planversionevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("divide_by", None),
                    ("charge_model__in", ["per_unit", "package", "graduated", "volume", "stairstep", "matrix"]),
                    _connector="OR",
                ),
                name="divide_by_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("fixed_amount", None), ("charge_model__in", ["percentage"]), _connector="OR"),
                name="fixed_amount_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("flat_amount", None), ("charge_model__in", ["flat"]), _connector="OR"),
                    models.Q(
                        ("flat_amount__isnull", False),
                        models.Q(("charge_model__in", ["flat"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="flat_amount_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("free_transactions", None), ("charge_model__in", ["percentage"]), _connector="OR"),
                name="free_transactions_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("included_units", None),
                    (
                        "charge_model__in",
                        [
                            "per_unit",
                            "package",
                            "graduated",
                            "volume",
                            "stairstep",
                            "percentage",
                            "graduated_percentage",
                            "matrix",
                            "amount_in_event",
                            "seats",
                        ],
                    ),
                    _connector="OR",
                ),
                name="included_units_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("maximum", None),
                    (
                        "charge_model__in",
                        [
                            "per_unit",
                            "package",
                            "graduated",
                            "volume",
                            "stairstep",
                            "percentage",
                            "graduated_percentage",
                            "matrix",
                            "amount_in_event",
                            "seats",
                        ],
                    ),
                    _connector="OR",
                ),
                name="maximum_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("minimum", None),
                    (
                        "charge_model__in",
                        [
                            "per_unit",
                            "package",
                            "graduated",
                            "volume",
                            "stairstep",
                            "percentage",
                            "graduated_percentage",
                            "matrix",
                            "amount_in_event",
                            "seats",
                        ],
                    ),
                    _connector="OR",
                ),
                name="minimum_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("multiplier", None), ("charge_model__in", ["amount_in_event"]), _connector="OR"),
                    models.Q(
                        ("multiplier__isnull", False),
                        models.Q(("charge_model__in", ["amount_in_event"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="multiplier_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("package_size", None), ("charge_model__in", ["package"]), _connector="OR"),
                    models.Q(
                        ("package_size__isnull", False),
                        models.Q(("charge_model__in", ["package"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="package_size_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("per_units", None),
                        ("charge_model__in", ["per_unit", "graduated", "volume", "matrix"]),
                        _connector="OR",
                    ),
                    models.Q(
                        ("per_units__isnull", False),
                        models.Q(("charge_model__in", ["per_unit", "graduated", "volume", "matrix"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="per_units_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("rate_percent", None), ("charge_model__in", ["percentage"]), _connector="OR"),
                    models.Q(
                        ("rate_percent__isnull", False),
                        models.Q(("charge_model__in", ["percentage"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="rate_percent_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("transaction_maximum", None), ("charge_model__in", ["percentage"]), _connector="OR"
                ),
                name="transaction_maximum_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("transaction_minimum", None), ("charge_model__in", ["percentage"]), _connector="OR"
                ),
                name="transaction_minimum_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("unit_amount", None), ("charge_model__in", ["per_unit", "package", "seats"]), _connector="OR"
                    ),
                    models.Q(
                        ("unit_amount__isnull", False),
                        models.Q(("charge_model__in", ["per_unit", "package", "seats"]), _negated=True),
                        _connector="OR",
                    ),
                ),
                name="unit_amount_goes_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("failures", "free_up_to"), ("free_failures__isnull", False)),
                    models.Q(models.Q(("failures", "free_up_to"), _negated=True), ("free_failures", None)),
                    _connector="OR",
                ),
                name="free_failures_go_with_policy",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("failures", "charged"),
                    ("charge_model__in", ["per_unit", "package", "graduated", "volume", "stairstep", "matrix"]),
                    _connector="OR",
                ),
                name="failures_go_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("divide_by", None), ("quantity_rounding", None)),
                    models.Q(("divide_by__isnull", False), ("quantity_rounding__isnull", False)),
                    _connector="OR",
                ),
                name="rounding_goes_with_division",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("charge_model", "matrix"), ("dimensions__len__gte", 1)),
                    models.Q(models.Q(("charge_model", "matrix"), _negated=True), ("dimensions", [])),
                    _connector="OR",
                ),
                name="dimensions_go_with_matrix",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("per_units", None), ("per_units__gt", 0), _connector="OR"),
                name="per_units_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("package_size", None), ("package_size__gt", 0), _connector="OR"),
                name="package_size_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("divide_by", None), ("divide_by__gt", 0), _connector="OR"),
                name="divide_by_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("minimum", None), ("maximum", None), ("maximum__gte", models.F("minimum")), _connector="OR"
                ),
                name="maximum_is_not_below_minimum",
                violation_error_message="The maximum is below the minimum.",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversion",
            trigger=pgtrigger.compiler.Trigger(
                name="sealed_version_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."is_sealed")',
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="a178dcb26aa3eb4e3e3c94ef69337969baa7c370",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_sealed_version_stands_54d18",
                    table="products_priceversion",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversion",
            trigger=pgtrigger.compiler.Trigger(
                name="model_goes_with_metric",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    IF (NEW.charge_model = 'flat') <> (\n        SELECT price.metric_id IS NULL FROM products_price price WHERE price.id = NEW.price_id\n    ) THEN\n        RAISE EXCEPTION 'A flat price has no metric; every other price needs one.';\n    END IF;\n    RETURN NEW;\n",
                    hash="25847d985b5838907ca78d905214a8e1647ee5c1",
                    operation="INSERT OR UPDATE",
                    pgid="pgtrigger_model_goes_with_metric_53950",
                    table="products_priceversion",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversion",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_priceversionevent" ("charge_model", "currency", "dimensions", "divide_by", "effective_from", "failures", "fixed_amount", "flat_amount", "flat_fee_at_zero_usage", "free_failures", "free_transactions", "id", "included_units", "maximum", "minimum", "multiplier", "note", "package_size", "per_units", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_id", "pricing_unit_rate", "prorates_added", "prorates_included", "prorates_removed", "quantity_rounding", "rate_percent", "recorded_at", "transaction_maximum", "transaction_minimum", "unit_amount") VALUES (NEW."charge_model", NEW."currency", NEW."dimensions", NEW."divide_by", NEW."effective_from", NEW."failures", NEW."fixed_amount", NEW."flat_amount", NEW."flat_fee_at_zero_usage", NEW."free_failures", NEW."free_transactions", NEW."id", NEW."included_units", NEW."maximum", NEW."minimum", NEW."multiplier", NEW."note", NEW."package_size", NEW."per_units", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."price_id", NEW."pricing_unit_rate", NEW."prorates_added", NEW."prorates_included", NEW."prorates_removed", NEW."quantity_rounding", NEW."rate_percent", NEW."recorded_at", NEW."transaction_maximum", NEW."transaction_minimum", NEW."unit_amount"); RETURN NULL;',
                    hash="7d7b6f93d5568a8cc31a1409d9731eb15c9eb9b2",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_6471e",
                    table="products_priceversion",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversion",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."charge_model" IS DISTINCT FROM (NEW."charge_model") OR OLD."currency" IS DISTINCT FROM (NEW."currency") OR OLD."dimensions" IS DISTINCT FROM (NEW."dimensions") OR OLD."divide_by" IS DISTINCT FROM (NEW."divide_by") OR OLD."effective_from" IS DISTINCT FROM (NEW."effective_from") OR OLD."failures" IS DISTINCT FROM (NEW."failures") OR OLD."fixed_amount" IS DISTINCT FROM (NEW."fixed_amount") OR OLD."flat_amount" IS DISTINCT FROM (NEW."flat_amount") OR OLD."flat_fee_at_zero_usage" IS DISTINCT FROM (NEW."flat_fee_at_zero_usage") OR OLD."free_failures" IS DISTINCT FROM (NEW."free_failures") OR OLD."free_transactions" IS DISTINCT FROM (NEW."free_transactions") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."included_units" IS DISTINCT FROM (NEW."included_units") OR OLD."maximum" IS DISTINCT FROM (NEW."maximum") OR OLD."minimum" IS DISTINCT FROM (NEW."minimum") OR OLD."multiplier" IS DISTINCT FROM (NEW."multiplier") OR OLD."note" IS DISTINCT FROM (NEW."note") OR OLD."package_size" IS DISTINCT FROM (NEW."package_size") OR OLD."per_units" IS DISTINCT FROM (NEW."per_units") OR OLD."price_id" IS DISTINCT FROM (NEW."price_id") OR OLD."pricing_unit_rate" IS DISTINCT FROM (NEW."pricing_unit_rate") OR OLD."prorates_added" IS DISTINCT FROM (NEW."prorates_added") OR OLD."prorates_included" IS DISTINCT FROM (NEW."prorates_included") OR OLD."prorates_removed" IS DISTINCT FROM (NEW."prorates_removed") OR OLD."quantity_rounding" IS DISTINCT FROM (NEW."quantity_rounding") OR OLD."rate_percent" IS DISTINCT FROM (NEW."rate_percent") OR OLD."recorded_at" IS DISTINCT FROM (NEW."recorded_at") OR OLD."transaction_maximum" IS DISTINCT FROM (NEW."transaction_maximum") OR OLD."transaction_minimum" IS DISTINCT FROM (NEW."transaction_minimum") OR OLD."unit_amount" IS DISTINCT FROM (NEW."unit_amount"))',
                    func='INSERT INTO "products_priceversionevent" ("charge_model", "currency", "dimensions", "divide_by", "effective_from", "failures", "fixed_amount", "flat_amount", "flat_fee_at_zero_usage", "free_failures", "free_transactions", "id", "included_units", "maximum", "minimum", "multiplier", "note", "package_size", "per_units", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_id", "pricing_unit_rate", "prorates_added", "prorates_included", "prorates_removed", "quantity_rounding", "rate_percent", "recorded_at", "transaction_maximum", "transaction_minimum", "unit_amount") VALUES (NEW."charge_model", NEW."currency", NEW."dimensions", NEW."divide_by", NEW."effective_from", NEW."failures", NEW."fixed_amount", NEW."flat_amount", NEW."flat_fee_at_zero_usage", NEW."free_failures", NEW."free_transactions", NEW."id", NEW."included_units", NEW."maximum", NEW."minimum", NEW."multiplier", NEW."note", NEW."package_size", NEW."per_units", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."price_id", NEW."pricing_unit_rate", NEW."prorates_added", NEW."prorates_included", NEW."prorates_removed", NEW."quantity_rounding", NEW."rate_percent", NEW."recorded_at", NEW."transaction_maximum", NEW."transaction_minimum", NEW."unit_amount"); RETURN NULL;',
                    hash="04a9b177f575bc91cf3b0f61e072ca2460e5b611",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_a3a19",
                    table="products_priceversion",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversion",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_priceversionevent" ("charge_model", "currency", "dimensions", "divide_by", "effective_from", "failures", "fixed_amount", "flat_amount", "flat_fee_at_zero_usage", "free_failures", "free_transactions", "id", "included_units", "maximum", "minimum", "multiplier", "note", "package_size", "per_units", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_id", "pricing_unit_rate", "prorates_added", "prorates_included", "prorates_removed", "quantity_rounding", "rate_percent", "recorded_at", "transaction_maximum", "transaction_minimum", "unit_amount") VALUES (OLD."charge_model", OLD."currency", OLD."dimensions", OLD."divide_by", OLD."effective_from", OLD."failures", OLD."fixed_amount", OLD."flat_amount", OLD."flat_fee_at_zero_usage", OLD."free_failures", OLD."free_transactions", OLD."id", OLD."included_units", OLD."maximum", OLD."minimum", OLD."multiplier", OLD."note", OLD."package_size", OLD."per_units", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."price_id", OLD."pricing_unit_rate", OLD."prorates_added", OLD."prorates_included", OLD."prorates_removed", OLD."quantity_rounding", OLD."rate_percent", OLD."recorded_at", OLD."transaction_maximum", OLD."transaction_minimum", OLD."unit_amount"); RETURN NULL;',
                    hash="8bf4cb2a2f84c3edf64e3514e07aa55a536948f6",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_cd5d9",
                    table="products_priceversion",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="pricetierevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_f38cec_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricetierevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="212d8b32538643c9d9d2bfc43cbc927dab74c657",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_2bdd6",
                    table="products_pricetierevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="pricetier",
            constraint=models.UniqueConstraint(
                fields=("price_version", "up_to"),
                name="tier_bound_is_unique",
                nulls_distinct=False,
                violation_error_message="Two tiers end at the same quantity.",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricetier",
            constraint=models.CheckConstraint(
                condition=models.Q(("up_to", None), ("up_to__gt", 0), _connector="OR"), name="tier_bound_is_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="pricetier",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate_percent", None), models.Q(("package_size", None), ("unit_amount", 0)), _connector="OR"
                ),
                name="tier_has_one_kind_of_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricetier",
            constraint=models.CheckConstraint(
                condition=models.Q(("package_size", None), ("package_size__gt", 0), _connector="OR"),
                name="tier_package_is_positive",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricetier",
            trigger=pgtrigger.compiler.Trigger(
                name="sealed_tier_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    IF EXISTS (\n        SELECT 1 FROM products_priceversion terms\n        WHERE terms.id IN (OLD.price_version_id, NEW.price_version_id) AND terms.is_sealed\n    ) THEN\n        RAISE EXCEPTION 'The tiers and rows of a published price cannot be changed; schedule a new price version.';\n    END IF;\n    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n    RETURN NEW;\n",
                    hash="27bcf0b77eab64f62aee3581c1d6eeb9f885ae65",
                    operation="INSERT OR UPDATE OR DELETE",
                    pgid="pgtrigger_sealed_tier_stands_d046e",
                    table="products_pricetier",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricetier",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricetierevent" ("flat_amount", "id", "package_size", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_version_id", "rate_percent", "unit_amount", "up_to") VALUES (NEW."flat_amount", NEW."id", NEW."package_size", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."price_version_id", NEW."rate_percent", NEW."unit_amount", NEW."up_to"); RETURN NULL;',
                    hash="8691a112f59d98b97134223fffd34c6ce140fa1b",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_b500e",
                    table="products_pricetier",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricetier",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_pricetierevent" ("flat_amount", "id", "package_size", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_version_id", "rate_percent", "unit_amount", "up_to") VALUES (NEW."flat_amount", NEW."id", NEW."package_size", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."price_version_id", NEW."rate_percent", NEW."unit_amount", NEW."up_to"); RETURN NULL;',
                    hash="81bbde02f5be636cb28d6ef29210e6bcb876d382",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_64015",
                    table="products_pricetier",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricetier",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricetierevent" ("flat_amount", "id", "package_size", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "price_version_id", "rate_percent", "unit_amount", "up_to") VALUES (OLD."flat_amount", OLD."id", OLD."package_size", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."price_version_id", OLD."rate_percent", OLD."unit_amount", OLD."up_to"); RETURN NULL;',
                    hash="9f371dbdba6fbb02cb3e074f424b3d47eb1a4752",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4d39c",
                    table="products_pricetier",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="pricematrixrowevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_301aee_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricematrixrowevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="e9aef458e706c7a7855d9e7e933e318b796b4961",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_38ae1",
                    table="products_pricematrixrowevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="pricematrixrow",
            constraint=models.UniqueConstraint(
                fields=("price_version", "position"), name="matrix_row_position_is_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="pricematrixrow",
            constraint=models.UniqueConstraint(
                fields=("price_version", "values"),
                name="matrix_row_values_are_unique",
                violation_error_message="Two rows price the same values.",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricematrixrow",
            trigger=pgtrigger.compiler.Trigger(
                name="sealed_row_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    IF EXISTS (\n        SELECT 1 FROM products_priceversion terms\n        WHERE terms.id IN (OLD.price_version_id, NEW.price_version_id) AND terms.is_sealed\n    ) THEN\n        RAISE EXCEPTION 'The tiers and rows of a published price cannot be changed; schedule a new price version.';\n    END IF;\n    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n    RETURN NEW;\n",
                    hash="57fe2afc7784441557bf5fe96168f24f09c1ffe0",
                    operation="INSERT OR UPDATE OR DELETE",
                    pgid="pgtrigger_sealed_row_stands_5105a",
                    table="products_pricematrixrow",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricematrixrow",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricematrixrowevent" ("id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "price_version_id", "unit_amount", "values") VALUES (NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."position", NEW."price_version_id", NEW."unit_amount", NEW."values"); RETURN NULL;',
                    hash="f4e3079a7acd945cf62efe7e1348fdb6cc1d4069",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_bac6a",
                    table="products_pricematrixrow",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricematrixrow",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_pricematrixrowevent" ("id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "price_version_id", "unit_amount", "values") VALUES (NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."position", NEW."price_version_id", NEW."unit_amount", NEW."values"); RETURN NULL;',
                    hash="f09f618e31d90232219000a2daaad1ccfdb5458b",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_42100",
                    table="products_pricematrixrow",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricematrixrow",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_pricematrixrowevent" ("id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "price_version_id", "unit_amount", "values") VALUES (OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."position", OLD."price_version_id", OLD."unit_amount", OLD."values"); RETURN NULL;',
                    hash="973520eb9dd04e3373944d6e453645d43da6d4be",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_e17cf",
                    table="products_pricematrixrow",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="priceversionevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_faa2a3_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceversionevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="cd44e482b33b8432f3a2213e649570d7f600600a",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_75f3e",
                    table="products_priceversionevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="pricingunitevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_34102d_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="pricingunitevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="8526bc8e647b46d97fc8aa285a053b7cc2c195de",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_95e2a",
                    table="products_pricingunitevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="priceevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_8cd121_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="053136eaba95fb5ed212e10eb6793ef1bb739860",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_fbec6",
                    table="products_priceevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                fields=("plan_version", "name"),
                name="price_name_is_unique_in_plan_version",
                violation_error_message="This plan version already has a price with this name.",
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("metric", None), models.Q(("recurrence", "recurring"), ("timing", "arrears")), _connector="OR"
                ),
                name="only_fees_are_one_off_or_in_advance",
                violation_error_message="Usage is billed after each period. Only a fee is one-off or in advance.",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="published_price_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="\n    IF EXISTS (\n        SELECT 1 FROM products_planversion version\n        WHERE version.id IN (OLD.plan_version_id, NEW.plan_version_id) AND version.status <> 'draft'\n    ) THEN\n        RAISE EXCEPTION 'The prices of a published plan cannot be changed or removed; schedule a new one.';\n    END IF;\n    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n    RETURN NEW;\n",
                    hash="8006e9de7fc47aa4f925810e6099a02b7bc225ce",
                    operation="INSERT OR UPDATE OR DELETE",
                    pgid="pgtrigger_published_price_stands_ade7b",
                    table="products_price",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_priceevent" ("id", "metric_id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "position", "pricing_unit_id", "product_id", "recurrence", "timing") VALUES (NEW."id", NEW."metric_id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."plan_version_id", NEW."position", NEW."pricing_unit_id", NEW."product_id", NEW."recurrence", NEW."timing"); RETURN NULL;',
                    hash="684c48f3cf85d7bddd7e2ae53e80dfedb74e54f7",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_c8e21",
                    table="products_price",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "products_priceevent" ("id", "metric_id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "position", "pricing_unit_id", "product_id", "recurrence", "timing") VALUES (NEW."id", NEW."metric_id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."plan_version_id", NEW."position", NEW."pricing_unit_id", NEW."product_id", NEW."recurrence", NEW."timing"); RETURN NULL;',
                    hash="f57d38fc81533788995f3c69648bb0efa2ed4272",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_acbcd",
                    table="products_price",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "products_priceevent" ("id", "metric_id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "position", "pricing_unit_id", "product_id", "recurrence", "timing") VALUES (OLD."id", OLD."metric_id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."plan_version_id", OLD."position", OLD."pricing_unit_id", OLD."product_id", OLD."recurrence", OLD."timing"); RETURN NULL;',
                    hash="0f39b5d7e0381533729daf652d3df89616c7ae28",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_3a2b8",
                    table="products_price",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="productevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="products_pr_pgh_cre_67c239_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="productevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="b87726817e7e063087535d650fb25d91240acbe3",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_dff3e",
                    table="products_productevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]
