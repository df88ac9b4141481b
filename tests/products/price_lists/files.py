"""A small price list in each form, and what it needs in the catalogue."""

from __future__ import annotations

import datetime as dt

from apps.products.models import PlanVersion
from apps.products.price_lists.applying import apply_price_list
from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.changes import ImportPlan
from apps.products.price_lists.files import read_file
from apps.products.price_lists.taking import ImportOptions

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)

CHAT = """\
price_list: 1
products:
  - {code: chat, name: Chat API}
metrics:
  - {code: tokens, name: Tokens, event_type: completion, aggregation: sum, value_property: tokens, group_by: [model]}
plans:
  - code: chat
    name: Chat
    billing: monthly
    currencies: [USD]
    prices:
      - line: Fee
        product: chat
        model: flat
        amounts:
          - {currency: USD, flat_amount: "99"}
      - line: Tokens
        product: chat
        metric: tokens
        model: graduated
        amounts:
          - currency: USD
            per_units: "1000000"
            tiers:
              - {up_to: "1000000", unit_amount: "3"}
              - {up_to: null, unit_amount: "2.5"}
"""

HEADER = "plan,plan_name,line,product,metric,model,currency,effective_from,up_to,flat_amount,match: model,unit_amount"


def read(text: str, name: str = "list.yaml") -> ReadPriceList:
    return read_file(text.encode(), name)


def table(*rows: str) -> ReadPriceList:
    return read("\n".join([HEADER, *rows]), "list.csv")


def taken(text: str, *, now: dt.datetime = NOW, **options: object) -> ImportPlan:
    return apply_price_list(read(text), options=ImportOptions(**options), now=now)  # type: ignore[arg-type]


def newest() -> PlanVersion:
    return PlanVersion.objects.filter(plan__code="chat").order_by("-number")[0]
