"""Reads over customers."""

from __future__ import annotations

from collections.abc import Collection

from apps.common.database import raw_cursor
from apps.customers.models import Customer

# Takes the subjects twice. Should an alias and an external ID be alike, the external ID comes last, and wins. It stands
# open to be a part of a statement that is run for every batch of events.
BY_SUBJECT_SQL = """
    SELECT 0 AS rank, alias AS subject, customer_id FROM customers_customeralias WHERE alias = ANY (%b::text[])
    UNION ALL
    SELECT 1, external_id, id FROM customers_customer WHERE external_id = ANY (%b::text[])
    ORDER BY 1
"""


def customers_by_subject(subjects: Collection[str]) -> dict[str, int]:
    """Return the customer's primary key for each event subject that is an external ID or an alias."""
    wanted = list(set(subjects))
    with raw_cursor() as cursor:
        cursor.execute(BY_SUBJECT_SQL, [wanted, wanted])
        return {subject: customer_id for _, subject, customer_id in cursor}


def subjects_of(customer: Customer) -> list[str]:
    """Every subject under which events reach the customer."""
    return [customer.external_id, *customer.aliases.values_list("alias", flat=True)]
