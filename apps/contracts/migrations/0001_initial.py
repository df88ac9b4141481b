import apps.common.fields
import django.contrib.postgres.constraints
import django.core.validators
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("customers", "0001_initial"),
        ("pghistory", "0007_auto_20250421_0444"),
        ("products", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Contract",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("active", "Active"), ("ended", "Ended")],
                        default="draft",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("currency", apps.common.fields.CurrencyCodeField(editable=False, max_length=3)),
                ("timezone", apps.common.fields.ZoneField(default="UTC", max_length=64, verbose_name="time zone")),
                ("start_date", models.DateField(verbose_name="first day")),
                ("end_date", models.DateField(blank=True, null=True, verbose_name="end")),
                (
                    "billing_anchor_day",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="Day of the month on which billing periods begin; 31 means the last day of shorter months.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31),
                        ],
                    ),
                ),
                (
                    "billing_months",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Monthly"), (3, "Quarterly"), (12, "Yearly")],
                        default=1,
                        editable=False,
                        verbose_name="billing interval",
                    ),
                ),
                (
                    "payment_terms_days",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Empty: as the billing entity says.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(365)],
                    ),
                ),
                (
                    "grace_period_hours",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Hours to wait for late events before a period closes. Empty: as the billing entity says.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1080)],
                    ),
                ),
                ("purchase_order", models.CharField(blank=True, help_text="Printed on invoices.", max_length=80)),
                ("activated_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("closed_through", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="contracts", to="customers.customer"
                    ),
                ),
            ],
            options={
                "ordering": ["customer__name", "-start_date", "id"],
            },
        ),
        migrations.CreateModel(
            name="ContractEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=120)),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("active", "Active"), ("ended", "Ended")],
                        default="draft",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("currency", apps.common.fields.CurrencyCodeField(editable=False, max_length=3)),
                ("timezone", apps.common.fields.ZoneField(default="UTC", max_length=64, verbose_name="time zone")),
                ("start_date", models.DateField(verbose_name="first day")),
                ("end_date", models.DateField(blank=True, null=True, verbose_name="end")),
                (
                    "billing_anchor_day",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="Day of the month on which billing periods begin; 31 means the last day of shorter months.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31),
                        ],
                    ),
                ),
                (
                    "billing_months",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Monthly"), (3, "Quarterly"), (12, "Yearly")],
                        default=1,
                        editable=False,
                        verbose_name="billing interval",
                    ),
                ),
                (
                    "payment_terms_days",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Empty: as the billing entity says.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(365)],
                    ),
                ),
                (
                    "grace_period_hours",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Hours to wait for late events before a period closes. Empty: as the billing entity says.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1080)],
                    ),
                ),
                ("purchase_order", models.CharField(blank=True, help_text="Printed on invoices.", max_length=80)),
                ("activated_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("closed_through", models.DateTimeField(blank=True, editable=False, null=True)),
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
                        to="contracts.contract",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ContractPhase",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start_date", models.DateField(verbose_name="first day")),
                ("end_date", models.DateField(blank=True, null=True, verbose_name="end")),
                ("grandfathered_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("grandfather_reason", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "contract",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="phases", to="contracts.contract"
                    ),
                ),
                (
                    "plan_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="phases", to="products.planversion"
                    ),
                ),
            ],
            options={
                "ordering": ["contract_id", "start_date"],
            },
        ),
        migrations.CreateModel(
            name="ContractPhaseEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("start_date", models.DateField(verbose_name="first day")),
                ("end_date", models.DateField(blank=True, null=True, verbose_name="end")),
                ("grandfathered_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("grandfather_reason", models.CharField(blank=True, editable=False, max_length=200)),
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
                        to="contracts.contractphase",
                    ),
                ),
                (
                    "plan_version",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="products.planversion",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddIndex(
            model_name="contract",
            index=models.Index(
                condition=models.Q(("status", "active")), fields=["closed_through"], name="contract_open_period"
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_date", None), ("end_date__gt", models.F("start_date")), _connector="OR"),
                name="contract_ends_after_it_starts",
                violation_error_message="The last day cannot lie before the first.",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_through", None), ("status", "draft")),
                    models.Q(models.Q(("status", "draft"), _negated=True), ("closed_through__isnull", False)),
                    _connector="OR",
                ),
                name="contract_open_period_once_active",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contract",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "contracts_contractevent" ("activated_at", "billing_anchor_day", "billing_months", "closed_through", "currency", "customer_id", "end_date", "grace_period_hours", "id", "name", "payment_terms_days", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "start_date", "status", "timezone") VALUES (NEW."activated_at", NEW."billing_anchor_day", NEW."billing_months", NEW."closed_through", NEW."currency", NEW."customer_id", NEW."end_date", NEW."grace_period_hours", NEW."id", NEW."name", NEW."payment_terms_days", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."purchase_order", NEW."start_date", NEW."status", NEW."timezone"); RETURN NULL;',
                    hash="b65a099a7ded80b6d92396079ed881df6eefc862",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_5fe2a",
                    table="contracts_contract",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contract",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "contracts_contractevent" ("activated_at", "billing_anchor_day", "billing_months", "closed_through", "currency", "customer_id", "end_date", "grace_period_hours", "id", "name", "payment_terms_days", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "start_date", "status", "timezone") VALUES (NEW."activated_at", NEW."billing_anchor_day", NEW."billing_months", NEW."closed_through", NEW."currency", NEW."customer_id", NEW."end_date", NEW."grace_period_hours", NEW."id", NEW."name", NEW."payment_terms_days", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."purchase_order", NEW."start_date", NEW."status", NEW."timezone"); RETURN NULL;',
                    hash="a7558e2db616309fd733f9a037702c5d366ea9ad",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_3acc9",
                    table="contracts_contract",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contract",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "contracts_contractevent" ("activated_at", "billing_anchor_day", "billing_months", "closed_through", "currency", "customer_id", "end_date", "grace_period_hours", "id", "name", "payment_terms_days", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "purchase_order", "start_date", "status", "timezone") VALUES (OLD."activated_at", OLD."billing_anchor_day", OLD."billing_months", OLD."closed_through", OLD."currency", OLD."customer_id", OLD."end_date", OLD."grace_period_hours", OLD."id", OLD."name", OLD."payment_terms_days", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."purchase_order", OLD."start_date", OLD."status", OLD."timezone"); RETURN NULL;',
                    hash="0850ea6a44e81a9cfb9e4abe6fd19d82bccaad52",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_6ed57",
                    table="contracts_contract",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="contractevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="contracts_c_pgh_cre_125760_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contractevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="6cccaf328a0534143cb2761d5f164e2247f189df",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_1465d",
                    table="contracts_contractevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="contractphase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("grandfather_reason", ""), ("grandfathered_at", None)),
                    models.Q(("grandfathered_at__isnull", False), models.Q(("grandfather_reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="grandfathered_with_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="contractphase",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_date", None), ("end_date__gt", models.F("start_date")), _connector="OR"),
                name="phase_ends_after_it_starts",
            ),
        ),
        migrations.AddConstraint(
            model_name="contractphase",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[
                    (
                        models.Func(
                            models.F("contract_id"), models.F("contract_id"), models.Value("[]"), function="int8range"
                        ),
                        "&&",
                    ),
                    (models.Func(models.F("start_date"), models.F("end_date"), function="daterange"), "&&"),
                ],
                name="phases_of_a_contract_never_overlap",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contractphase",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "contracts_contractphaseevent" ("contract_id", "end_date", "grandfather_reason", "grandfathered_at", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "start_date") VALUES (NEW."contract_id", NEW."end_date", NEW."grandfather_reason", NEW."grandfathered_at", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."plan_version_id", NEW."start_date"); RETURN NULL;',
                    hash="286a32d46b80527635de2a9cb0ddf806c803b591",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_f0f6d",
                    table="contracts_contractphase",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contractphase",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "contracts_contractphaseevent" ("contract_id", "end_date", "grandfather_reason", "grandfathered_at", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "start_date") VALUES (NEW."contract_id", NEW."end_date", NEW."grandfather_reason", NEW."grandfathered_at", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."plan_version_id", NEW."start_date"); RETURN NULL;',
                    hash="88b44ed25dc7dfaf3005c7a6e0664ff688e75728",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_3d6fb",
                    table="contracts_contractphase",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contractphase",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "contracts_contractphaseevent" ("contract_id", "end_date", "grandfather_reason", "grandfathered_at", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "plan_version_id", "start_date") VALUES (OLD."contract_id", OLD."end_date", OLD."grandfather_reason", OLD."grandfathered_at", OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."plan_version_id", OLD."start_date"); RETURN NULL;',
                    hash="466cabacd18380c25d78e2c0a3d036f980800152",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_3394c",
                    table="contracts_contractphase",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="contractphaseevent",
            index=models.Index(fields=["-pgh_created_at", "-pgh_id"], name="contracts_c_pgh_cre_8094ba_idx"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="contractphaseevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="1a27fa3839d06be8308c3a2eabec49ad3ce5757b",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_8a98f",
                    table="contracts_contractphaseevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]
