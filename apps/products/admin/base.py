"""What the pages of the catalogue share."""

from __future__ import annotations

from django.urls import reverse
from django.utils.safestring import SafeString

from apps.common.admin import badge
from apps.products.models import ChargeModelName, PlanStatus, PlanVersion

STATUS_COLOURS = {PlanStatus.DRAFT: "warning", PlanStatus.PUBLISHED: "success", PlanStatus.ARCHIVED: "default"}
MODEL_WORDS = {
    ChargeModelName.FLAT: "Flat",
    ChargeModelName.PER_UNIT: "Per unit",
    ChargeModelName.PACKAGE: "Package",
    ChargeModelName.GRADUATED: "Graduated",
    ChargeModelName.VOLUME: "Volume",
    ChargeModelName.STAIRSTEP: "Stairstep",
    ChargeModelName.PERCENTAGE: "Percentage",
    ChargeModelName.GRADUATED_PERCENTAGE: "Graduated percentage",
    ChargeModelName.MATRIX: "Matrix",
    ChargeModelName.AMOUNT_IN_EVENT: "Amount in event",
    ChargeModelName.SEATS: "Seats",
}


def status_badge(version: PlanVersion) -> SafeString:
    return badge(version.get_status_display(), STATUS_COLOURS[PlanStatus(version.status)])


def plan_url(version: PlanVersion) -> str:
    """The plan's page, at the version."""
    return f"{reverse('admin:products_plan_change', args=[version.plan_id])}#version-{version.number}"
