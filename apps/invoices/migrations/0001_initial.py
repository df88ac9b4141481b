import apps.common.fields
import apps.products.models
import django.contrib.postgres.constraints
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import djmoney.models.fields
import pgtrigger.compiler
import pgtrigger.migrations
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("billable_metrics", "0001_initial"),
        ("contracts", "0001_initial"),
        ("customers", "0001_initial"),
        ("pghistory", "0007_auto_20250421_0444"),
        ("products", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Invoice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("period", "Period"), ("opening", "Opening"), ("interim", "Interim")],
                        default="period",
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("issued", "Issued"), ("paid", "Paid"), ("void", "Void")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("number", models.CharField(blank=True, max_length=40, null=True, unique=True)),
                ("timezone", apps.common.fields.ZoneField(default="UTC", max_length=64, verbose_name="time zone")),
                ("period_start_at", models.DateTimeField()),
                ("period_end_at", models.DateTimeField()),
                ("stored_before", models.DateTimeField()),
                ("rated_at", models.DateTimeField()),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        choices=[
                            ("AUD", "Australian Dollar"),
                            ("GBP", "British Pound"),
                            ("CAD", "Canadian Dollar"),
                            ("EUR", "Euro"),
                            ("INR", "Indian Rupee"),
                            ("JPY", "Japanese Yen"),
                            ("KWD", "Kuwaiti Dinar"),
                            ("SEK", "Swedish Krona"),
                            ("CHF", "Swiss Franc"),
                            ("USD", "US Dollar"),
                        ],
                        default="USD",
                        editable=False,
                        max_length=3,
                    ),
                ),
                (
                    "subtotal",
                    djmoney.models.fields.MoneyField(currency_field_name="currency", decimal_places=4, max_digits=20),
                ),
                (
                    "total",
                    djmoney.models.fields.MoneyField(currency_field_name="currency", decimal_places=4, max_digits=20),
                ),
                ("issued_at", models.DateTimeField(blank=True, null=True)),
                ("invoice_date", models.DateField(blank=True, null=True)),
                ("due_date", models.DateField(blank=True, null=True)),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("voided_at", models.DateTimeField(blank=True, null=True)),
                ("seller", models.JSONField(blank=True, null=True)),
                ("buyer", models.JSONField(blank=True, null=True)),
                ("purchase_order", models.CharField(blank=True, max_length=80)),
                ("payment_terms_days", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("payment_instructions", models.TextField(blank=True)),
                ("footer", models.TextField(blank=True)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoices",
                        to="customers.billingentity",
                    ),
                ),
                (
                    "contract",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="invoices", to="contracts.contract"
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="invoices", to="customers.customer"
                    ),
                ),
            ],
            options={
                "ordering": ["-period_end_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="InvoiceDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Waiting to be rendered"), ("ready", "Ready"), ("failed", "Failed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("content", models.BinaryField(blank=True, null=True)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("rendered_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("error", models.TextField(blank=True)),
                (
                    "invoice",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="document", to="invoices.invoice"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="InvoiceEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("period", "Period"), ("opening", "Opening"), ("interim", "Interim")],
                        default="period",
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("issued", "Issued"), ("paid", "Paid"), ("void", "Void")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("number", models.CharField(blank=True, max_length=40, null=True)),
                ("timezone", apps.common.fields.ZoneField(default="UTC", max_length=64, verbose_name="time zone")),
                ("period_start_at", models.DateTimeField()),
                ("period_end_at", models.DateTimeField()),
                ("stored_before", models.DateTimeField()),
                ("rated_at", models.DateTimeField()),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        choices=[
                            ("AUD", "Australian Dollar"),
                            ("GBP", "British Pound"),
                            ("CAD", "Canadian Dollar"),
                            ("EUR", "Euro"),
                            ("INR", "Indian Rupee"),
                            ("JPY", "Japanese Yen"),
                            ("KWD", "Kuwaiti Dinar"),
                            ("SEK", "Swedish Krona"),
                            ("CHF", "Swiss Franc"),
                            ("USD", "US Dollar"),
                        ],
                        default="USD",
                        editable=False,
                        max_length=3,
                    ),
                ),
                (
                    "subtotal",
                    djmoney.models.fields.MoneyField(currency_field_name="currency", decimal_places=4, max_digits=20),
                ),
                (
                    "total",
                    djmoney.models.fields.MoneyField(currency_field_name="currency", decimal_places=4, max_digits=20),
                ),
                ("issued_at", models.DateTimeField(blank=True, null=True)),
                ("invoice_date", models.DateField(blank=True, null=True)),
                ("due_date", models.DateField(blank=True, null=True)),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("voided_at", models.DateTimeField(blank=True, null=True)),
                ("seller", models.JSONField(blank=True, null=True)),
                ("buyer", models.JSONField(blank=True, null=True)),
                ("purchase_order", models.CharField(blank=True, max_length=80)),
                ("payment_terms_days", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("payment_instructions", models.TextField(blank=True)),
                ("footer", models.TextField(blank=True)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="customers.billingentity",
                    ),
                ),
                (
                    "contract",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="contracts.contract",
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="customers.customer",
                    ),
                ),
                (
                    "pgh_context",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="pghistory.context",
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="invoices.invoice",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="InvoiceLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("product_name", models.CharField(max_length=100)),
                ("description", models.CharField(max_length=120)),
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
                ("metric_code", models.CharField(blank=True, max_length=64)),
                ("unit_singular", models.CharField(blank=True, max_length=40)),
                ("unit_plural", models.CharField(blank=True, max_length=40)),
                ("window_start_at", models.DateTimeField()),
                ("window_end_at", models.DateTimeField()),
                ("stored_before", models.DateTimeField()),
                ("share_days", models.PositiveIntegerField()),
                ("share_of_days", models.PositiveIntegerField()),
                ("event_count", models.PositiveBigIntegerField(default=0)),
                ("quantity", apps.products.models.QuantityField(decimal_places=12, max_digits=30)),
                (
                    "included_units",
                    apps.products.models.QuantityField(decimal_places=12, default=Decimal("0"), max_digits=30),
                ),
                ("billable_quantity", apps.products.models.QuantityField(decimal_places=12, max_digits=30)),
                (
                    "unit_amount",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                (
                    "per_units",
                    apps.products.models.QuantityField(decimal_places=12, default=Decimal("1"), max_digits=30),
                ),
                ("tiers", models.JSONField(blank=True, default=list)),
                ("components", models.JSONField(blank=True, default=list)),
                (
                    "failures_free",
                    apps.products.models.QuantityField(decimal_places=12, default=Decimal("0"), max_digits=30),
                ),
                (
                    "converted_quantity",
                    apps.products.models.QuantityField(blank=True, decimal_places=12, max_digits=30, null=True),
                ),
                ("model_amount", models.DecimalField(blank=True, decimal_places=40, max_digits=76, null=True)),
                ("priced_amount", models.DecimalField(blank=True, decimal_places=40, max_digits=76, null=True)),
                (
                    "pricing_unit_rate",
                    apps.products.models.UnitAmountField(
                        blank=True,
                        decimal_places=12,
                        max_digits=24,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                    ),
                ),
                ("pricing_unit_singular", models.CharField(blank=True, max_length=40)),
                ("pricing_unit_plural", models.CharField(blank=True, max_length=40)),
                (
                    "dimensions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200), blank=True, default=list, size=None
                    ),
                ),
                (
                    "dimension_values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=500, null=True), blank=True, default=list, size=None
                    ),
                ),
                ("bound", models.CharField(blank=True, max_length=10)),
                ("exact_amount", models.DecimalField(decimal_places=40, max_digits=76)),
                ("billed_before", models.DecimalField(decimal_places=4, default=Decimal("0"), max_digits=20)),
                (
                    "billed_on",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                ("is_reversal", models.BooleanField(default=False)),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        choices=[
                            ("AUD", "Australian Dollar"),
                            ("GBP", "British Pound"),
                            ("CAD", "Canadian Dollar"),
                            ("EUR", "Euro"),
                            ("INR", "Indian Rupee"),
                            ("JPY", "Japanese Yen"),
                            ("KWD", "Kuwaiti Dinar"),
                            ("SEK", "Swedish Krona"),
                            ("CHF", "Swiss Franc"),
                            ("USD", "US Dollar"),
                        ],
                        default="USD",
                        editable=False,
                        max_length=3,
                    ),
                ),
                (
                    "amount",
                    djmoney.models.fields.MoneyField(currency_field_name="currency", decimal_places=4, max_digits=20),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="invoices.invoice"
                    ),
                ),
                (
                    "metric_version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_lines",
                        to="billable_metrics.metricversion",
                    ),
                ),
                (
                    "price_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_lines",
                        to="products.priceversion",
                    ),
                ),
            ],
            options={
                "ordering": ["invoice_id", "position"],
            },
        ),
        migrations.CreateModel(
            name="NumberSeries",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("prefix", models.CharField(max_length=20)),
                ("next_number", models.PositiveIntegerField(default=1)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="number_series",
                        to="customers.billingentity",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "number series",
            },
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(fields=["status", "-period_end_at"], name="invoices_in_status_b33b80_idx"),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(fields=["-period_end_at", "-id"], name="invoices_in_period__faf777_idx"),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                condition=models.Q(("invoice_date__isnull", False)), fields=["invoice_date"], name="invoice_by_date"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("status", "void"), _negated=True), ("kind", "period")),
                fields=("contract", "period_start_at"),
                name="one_live_invoice_per_contract_and_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("status", "void"), _negated=True), ("kind", "opening")),
                fields=("contract",),
                name="one_live_opening_invoice_per_contract",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("status", "void"), _negated=True), ("kind", "interim")),
                fields=("contract", "period_start_at", "stored_before"),
                name="one_live_interim_invoice_per_cutoff",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=models.Q(models.Q(("status", "void"), _negated=True), ("kind", "period")),
                expressions=[
                    (
                        models.Func(
                            models.F("contract_id"), models.F("contract_id"), models.Value("[]"), function="int8range"
                        ),
                        "&&",
                    ),
                    (models.Func(models.F("period_start_at"), models.F("period_end_at"), function="tstzrange"), "&&"),
                ],
                name="live_invoices_of_a_contract_never_overlap",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["period", "opening", "interim"])), name="invoice_kind_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("buyer", None),
                        ("due_date", None),
                        ("invoice_date", None),
                        ("issued_at", None),
                        ("number", None),
                        ("payment_terms_days", None),
                        ("seller", None),
                        ("status", "draft"),
                    ),
                    models.Q(
                        models.Q(("status", "draft"), _negated=True),
                        ("buyer__isnull", False),
                        ("due_date__isnull", False),
                        ("invoice_date__isnull", False),
                        ("issued_at__isnull", False),
                        ("number__isnull", False),
                        ("payment_terms_days__isnull", False),
                        ("seller__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="complete_once_issued",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("period_end_at__gt", models.F("period_start_at"))),
                name="invoice_period_is_not_empty",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoice",
            trigger=pgtrigger.compiler.Trigger(
                name="status_moves",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    declare="DECLARE _is_valid_transition BOOLEAN;",
                    func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{draft:issued,issued:paid,issued:void}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;',
                    hash="b7f95278cb84ba76478d6c43445183f1da5fe02f",
                    operation="UPDATE",
                    pgid="pgtrigger_status_moves_94abe",
                    table="invoices_invoice",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoice",
            trigger=pgtrigger.compiler.Trigger(
                name="issued_invoice_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.\"status\" IN ('issued', 'paid', 'void'))",
                    func="\n    IF TG_OP = 'DELETE' THEN\n        RAISE EXCEPTION 'Invoice % is issued and cannot be deleted; correct it by a credit note.', OLD.number;\n    END IF;\n    IF to_jsonb(OLD) - 'status' - 'paid_at' - 'voided_at' IS DISTINCT FROM\n       to_jsonb(NEW) - 'status' - 'paid_at' - 'voided_at' THEN\n        RAISE EXCEPTION 'Invoice % is issued and cannot be changed; correct it by a credit note.', OLD.number;\n    END IF;\n    RETURN NEW;\n",
                    hash="6e8f832ed3bdd96aa490e896bddcffe96d585eec",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_issued_invoice_stands_c272f",
                    table="invoices_invoice",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoice",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "invoices_invoiceevent" ("billing_entity_id", "buyer", "contract_id", "currency", "customer_id", "due_date", "footer", "id", "invoice_date", "issued_at", "kind", "number", "paid_at", "payment_instructions", "payment_terms_days", "period_end_at", "period_start_at", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "rated_at", "seller", "status", "stored_before", "subtotal", "timezone", "total", "voided_at") VALUES (NEW."billing_entity_id", NEW."buyer", NEW."contract_id", NEW."currency", NEW."customer_id", NEW."due_date", NEW."footer", NEW."id", NEW."invoice_date", NEW."issued_at", NEW."kind", NEW."number", NEW."paid_at", NEW."payment_instructions", NEW."payment_terms_days", NEW."period_end_at", NEW."period_start_at", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."purchase_order", NEW."rated_at", NEW."seller", NEW."status", NEW."stored_before", NEW."subtotal", NEW."timezone", NEW."total", NEW."voided_at"); RETURN NULL;',
                    hash="f828ae6485d5f5960bd4b6d7bb0ff2d46e9ba644",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_b68e1",
                    table="invoices_invoice",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoice",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "invoices_invoiceevent" ("billing_entity_id", "buyer", "contract_id", "currency", "customer_id", "due_date", "footer", "id", "invoice_date", "issued_at", "kind", "number", "paid_at", "payment_instructions", "payment_terms_days", "period_end_at", "period_start_at", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "rated_at", "seller", "status", "stored_before", "subtotal", "timezone", "total", "voided_at") VALUES (NEW."billing_entity_id", NEW."buyer", NEW."contract_id", NEW."currency", NEW."customer_id", NEW."due_date", NEW."footer", NEW."id", NEW."invoice_date", NEW."issued_at", NEW."kind", NEW."number", NEW."paid_at", NEW."payment_instructions", NEW."payment_terms_days", NEW."period_end_at", NEW."period_start_at", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."purchase_order", NEW."rated_at", NEW."seller", NEW."status", NEW."stored_before", NEW."subtotal", NEW."timezone", NEW."total", NEW."voided_at"); RETURN NULL;',
                    hash="160bba7eb1e1e18a118395b4305ddc071a8276f6",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_2ec8f",
                    table="invoices_invoice",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoice",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "invoices_invoiceevent" ("billing_entity_id", "buyer", "contract_id", "currency", "customer_id", "due_date", "footer", "id", "invoice_date", "issued_at", "kind", "number", "paid_at", "payment_instructions", "payment_terms_days", "period_end_at", "period_start_at", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "rated_at", "seller", "status", "stored_before", "subtotal", "timezone", "total", "voided_at") VALUES (OLD."billing_entity_id", OLD."buyer", OLD."contract_id", OLD."currency", OLD."customer_id", OLD."due_date", OLD."footer", OLD."id", OLD."invoice_date", OLD."issued_at", OLD."kind", OLD."number", OLD."paid_at", OLD."payment_instructions", OLD."payment_terms_days", OLD."period_end_at", OLD."period_start_at", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."purchase_order", OLD."rated_at", OLD."seller", OLD."status", OLD."stored_before", OLD."subtotal", OLD."timezone", OLD."total", OLD."voided_at"); RETURN NULL;',
                    hash="ffa21dc394977bfd40629d7f85d25347a2d22259",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_87c50",
                    table="invoices_invoice",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="invoicedocument",
            index=models.Index(
                condition=models.Q(("state", "pending")), fields=["next_attempt_at"], name="document_to_render"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoicedocument",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "ready"), _negated=True),
                    models.Q(("content__isnull", False), ("rendered_at__isnull", False)),
                    _connector="OR",
                ),
                name="document_ready_has_content",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoicedocument",
            trigger=pgtrigger.compiler.Trigger(
                name="ready_document_stands",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.\"state\" = 'ready')",
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="922ace9a9aacabedd81ed0d865a3ef542befb36f",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_ready_document_stands_046d6",
                    table="invoices_invoicedocument",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="invoiceevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="invoices_in_pgh_cre_cff96a_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoiceevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="cca899dfd766a0d6b5433760176121369b250fc9",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_57dc8",
                    table="invoices_invoiceevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(fields=("invoice", "position"), name="line_position_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.CheckConstraint(
                condition=models.Q(("window_end_at__gt", models.F("window_start_at"))), name="line_window_is_not_empty"
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoiceline",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_only_on_drafts",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    declare="DECLARE invoice_status text;",
                    func="\n    FOR invoice_status IN SELECT status FROM invoices_invoice WHERE id IN (SELECT invoice_id FROM new_lines) FOR SHARE\n    LOOP\n        IF invoice_status <> 'draft' THEN\n            RAISE EXCEPTION 'The lines of an issued invoice cannot be changed; correct it by a credit note.';\n        END IF;\n    END LOOP;\n    RETURN NULL;\n",
                    hash="a536b11f6a5774707df63478a812e33b112dd2fd",
                    level="STATEMENT",
                    operation="INSERT",
                    pgid="pgtrigger_insert_only_on_drafts_8e0c9",
                    referencing="REFERENCING NEW TABLE AS new_lines ",
                    table="invoices_invoiceline",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoiceline",
            trigger=pgtrigger.compiler.Trigger(
                name="update_only_on_drafts",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    declare="DECLARE invoice_status text;",
                    func="\n    FOR invoice_status IN SELECT status FROM invoices_invoice WHERE id IN (SELECT invoice_id FROM old_lines UNION SELECT invoice_id FROM new_lines) FOR SHARE\n    LOOP\n        IF invoice_status <> 'draft' THEN\n            RAISE EXCEPTION 'The lines of an issued invoice cannot be changed; correct it by a credit note.';\n        END IF;\n    END LOOP;\n    RETURN NULL;\n",
                    hash="a8bed66bbcded9b49b5109318e7b872356ee869a",
                    level="STATEMENT",
                    operation="UPDATE",
                    pgid="pgtrigger_update_only_on_drafts_b6f4d",
                    referencing="REFERENCING OLD TABLE AS old_lines  NEW TABLE AS new_lines ",
                    table="invoices_invoiceline",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="invoiceline",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_only_on_drafts",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    declare="DECLARE invoice_status text;",
                    func="\n    FOR invoice_status IN SELECT status FROM invoices_invoice WHERE id IN (SELECT invoice_id FROM old_lines) FOR SHARE\n    LOOP\n        IF invoice_status <> 'draft' THEN\n            RAISE EXCEPTION 'The lines of an issued invoice cannot be changed; correct it by a credit note.';\n        END IF;\n    END LOOP;\n    RETURN NULL;\n",
                    hash="90649ce965eac64883daec2b760662c3b3fc6f81",
                    level="STATEMENT",
                    operation="DELETE",
                    pgid="pgtrigger_delete_only_on_drafts_534f5",
                    referencing="REFERENCING OLD TABLE AS old_lines ",
                    table="invoices_invoiceline",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="numberseries",
            constraint=models.UniqueConstraint(fields=("prefix",), name="series_prefix_is_unique"),
        ),
    ]
