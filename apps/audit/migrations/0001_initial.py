"""The permission to read the audit log, and the index that finds the changes of one user."""

from django.db import migrations


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditLog",
            fields=[],
            options={
                "verbose_name": "audit log",
                "verbose_name_plural": "audit log",
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("pghistory.context",),
        ),
        # The contexts belong to a package, so its index is made here in SQL.
        migrations.RunSQL(
            sql="CREATE INDEX audit_context_user ON pghistory_context ((metadata -> 'user'), created_at DESC)",
            reverse_sql="DROP INDEX audit_context_user",
        ),
    ]
