"""Price lists on the pages of plans."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.products.models import Plan, PlanVersion, PriceVersion
from apps.products.price_lists.files import read_file
from tests.pages import page_text, url_of, viewer
from tests.products.price_lists.files import CHAT, newest, read, taken

pytestmark = pytest.mark.django_db
IMPORT = reverse("admin:products_plan_import")


@pytest.fixture
def desk(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def upload(client: Client, text: str, name: str = "chat.yaml", **fields: str) -> str:
    sent = {"file": SimpleUploadedFile(name, text.encode()), "how": "draft", **fields}
    return client.post(IMPORT, sent).content.decode()


def confirm(client: Client, page: str) -> str:
    fields = dict(re.findall(r'name="(kept|fingerprint)" value="([^"]*)"', page))
    return client.post(IMPORT, fields, follow=True).content.decode()


def test_an_upload_shows_what_would_change_and_stores_nothing(desk: Client) -> None:
    page = upload(desk, CHAT)

    assert "Nothing is stored yet" in page
    assert "product chat; model flat; flat_amount 99" in page
    assert not Plan.objects.exists()


def test_confirmed_it_is_imported_by_the_clerk(desk: Client) -> None:
    page = confirm(desk, upload(desk, CHAT))

    assert "chat.yaml is imported: 5 new." in page
    assert newest().is_draft


def test_a_change_is_shown_from_what_to_what(desk: Client) -> None:
    taken(CHAT, publish=True)

    page = upload(desk, CHAT.replace('"99"', '"109"'))

    assert re.search(r"flat_amount</td><td[^>]*>99</td><td[^>]*>109</td>", page)
    assert "Version: Chat v2 (USD, monthly)" in page


def test_faults_are_listed_with_their_rows(desk: Client) -> None:
    page = upload(desk, "plan,line,product,model,currency,flat_amount\nchat,Fee,chat,flat,USD,x\n", "chat.csv")

    assert "chat.csv has 2 faults" in page
    assert "“x” is no number" in page
    assert "There is no product with the code" not in page  # A price at fault is not looked at further.


def test_amounts_are_scheduled_from_the_day_that_is_given(desk: Client) -> None:
    taken(CHAT, publish=True)
    dearer = CHAT.replace('"99"', '"109"')

    confirm(desk, upload(desk, dearer, how="schedule", schedule_from="2099-01-01"))

    assert [str(day) for day in PriceVersion.objects.values_list("effective_from", flat=True) if day] == ["2099-01-01"]


@pytest.mark.parametrize(("day", "sentence"), [("", "Enter the day"), ("2020-01-01", "from today on")])
def test_a_schedule_needs_a_day_to_come(desk: Client, day: str, sentence: str) -> None:
    taken(CHAT, publish=True)

    assert sentence in upload(desk, CHAT.replace('"99"', '"109"'), how="schedule", schedule_from=day)


def test_what_changed_since_it_was_shown_is_shown_again(desk: Client) -> None:
    page = upload(desk, CHAT)
    taken(CHAT)

    assert "The catalogue has changed since you looked" in confirm(desk, page)


def test_the_same_file_again_says_that_there_is_nothing_to_change(desk: Client) -> None:
    taken(CHAT)

    page = upload(desk, CHAT)

    assert "The catalogue states all of it already" in page
    assert ">Import</button>" not in page


def test_a_tampered_upload_is_refused(desk: Client) -> None:
    page = desk.post(IMPORT, {"kept": "x", "fingerprint": ""}, follow=True).content.decode()

    assert "Upload the file again" in page


@pytest.mark.parametrize("form", ["yaml", "csv", "xlsx"])
def test_a_version_is_exported(desk: Client, form: str) -> None:
    taken(CHAT)
    version = PlanVersion.objects.get()

    answer = desk.get(
        reverse("admin:products_plan_export", args=[version.plan_id]), {"version": str(version.pk), "format": form}
    )

    assert answer.headers["Content-Disposition"] == f'attachment; filename="chat-v1.{form}"'
    assert read_file(answer.content, f"list.{form}").document.plans[0].prices == read(CHAT).document.plans[0].prices


def test_selected_plans_are_exported_together(desk: Client) -> None:
    taken(CHAT)
    taken(CHAT.replace("code: chat\n    name: Chat", "code: talk\n    name: Talk"))
    plans = [str(key) for key in Plan.objects.values_list("pk", flat=True)]

    answer = desk.post(url_of("products_plan"), {"action": "export_selected_csv", "_selected_action": plans})

    assert [plan.code for plan in read_file(answer.content, "list.csv").document.plans] == ["chat", "talk"]


def test_who_may_only_look_exports_and_does_not_import(client: Client) -> None:
    client.force_login(viewer("products.plan", "products.planversion", "products.priceversion"))
    taken(CHAT)

    assert client.get(IMPORT).status_code == 403
    assert client.get(reverse("admin:products_plan_export", args=[newest().plan_id])).status_code == 200
    assert "Import price list" not in page_text(client, url_of("products_plan"))
