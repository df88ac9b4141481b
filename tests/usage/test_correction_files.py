"""Corrections of many events by a CSV file: all rows right, or nothing done."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.usage.models import UsageCorrection, UsageEvent
from apps.usage.selectors import place_of
from apps.usage.services import record_events, void_events
from apps.usage.services.correction_files import BadFile, FileHasFaults, correct_by_file, plan_corrections
from tests.usage.events import event
from tests.usage.test_corrections import stored

pytestmark = pytest.mark.django_db
HEADER = "source,id,action,subject,time,data,data.input_tokens\n"
PAGE = "admin:usage_usagecorrection_file"


@pytest.fixture
def three(acme_metric: BillableMetric) -> None:
    record_events(events=[event(name, data={"input_tokens": 100, "model": "large"}) for name in "abc"], api_key_id=None)


def faults(text: str) -> list[tuple[int, str]]:
    return [(fault.line, fault.detail) for fault in plan_corrections(text).faults]


def test_a_file_voids_and_replaces(three: None, clerk: User) -> None:
    text = HEADER + (
        "gateway,a,void,,,,\n"
        "gateway,b,replace,,2023-11-17T00:00:00Z,,7.5\n"
        'gateway,c,replace,globex,,"{""input_tokens"": 1}",\n'
    )
    plan = plan_corrections(text)
    assert (len(plan.voids), len(plan.replacements), plan.faults) == (1, 2, [])
    assert not UsageCorrection.objects.exists()

    voids, replacements = correct_by_file(text=text, reason="Bad gateway release", actor=clerk)

    assert (voids.kind, voids.event_count, voids.actor) == ("void", 1, clerk)
    assert (replacements.kind, replacements.event_count) == ("replace", 2)
    assert replacements.selection == "a file with 2 rows"
    assert {
        (found.event_id, found.subject, str(found.data)) for found in UsageEvent.objects.filter(voided_at=None)
    } == {
        ("b", "acme", "{'model': 'large', 'input_tokens': Decimal('7.5')}"),
        ("c", "globex", "{'input_tokens': 1}"),
    }
    assert stored("b").occurred_at.day == 17


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("gateway,a,delete,,,,", "The action is void or replace."),
        ("gateway,x,void,,,,", "There is no event with this source and ID."),
        ("other,a,void,,,,", "There is no event with this source and ID."),
        ("gateway,a,replace,,,,", "A replacement changes something: fill in type, subject, time or data."),
        ("gateway,a,replace,,yesterday,,", "“yesterday” is no time; write 2026-01-31T23:59:00Z."),
        ("gateway,a,replace,,2023-11-17,,", "“2023-11-17” has no time zone; write 2026-01-31T23:59:00Z for UTC."),
        ("gateway,a,replace,,,[1],", "The data is a JSON object."),
        ("gateway,a,replace,,,{,", "The data is no JSON."),
    ],
)
def test_a_row_that_is_wrong_says_so(three: None, row: str, said: str) -> None:
    assert faults(f"{HEADER}{row}\n") == [(2, said)]


def test_a_value_that_a_metric_cannot_add_up_is_a_fault_of_its_row(three: None) -> None:
    [(line, said)] = faults(f"{HEADER}gateway,a,void,,,,\ngateway,b,replace,,,,many\n")
    assert line == 3
    assert "number" in said


def test_an_event_is_corrected_once_in_a_file_and_not_when_it_is_voided(three: None) -> None:
    void_events(events=[place_of(stored("b"))], reason="x", actor=None)
    text = f"{HEADER}gateway,a,void,,,,\ngateway,a,void,,,,\ngateway,b,void,,,,\n"
    assert faults(text) == [(3, "Line 2 corrects the same event."), (4, "The event is voided already.")]


def test_with_one_fault_nothing_is_corrected(three: None) -> None:
    with pytest.raises(FileHasFaults, match="1 row is wrong"):
        correct_by_file(text=f"{HEADER}gateway,a,void,,,,\ngateway,x,void,,,,\n", reason="x", actor=None)
    with pytest.raises(InvalidInput, match="Say why"):
        correct_by_file(text=f"{HEADER}gateway,a,void,,,,\n", reason=" ", actor=None)
    assert not UsageEvent.objects.filter(voided_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "“source” is missing"),
        ("source,id\na,b\n", "“action” is missing"),
        ("source,id,action,colour\na,b,void,red\n", "There is no column “colour”"),
        ("source,id,action\n", "no rows"),
    ],
)
def test_a_file_that_is_no_table_of_corrections_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        plan_corrections(text)


def test_a_file_from_a_spreadsheet_is_read(three: None) -> None:
    assert plan_corrections("\ufeffsource;id;action\r\ngateway;a;void\r\n;;\r\n").event_count == 1


def test_the_page_checks_first_and_corrects_once_confirmed(client: Client, clerk: User, three: None) -> None:
    client.force_login(clerk)
    text = f"{HEADER}gateway,a,void,,,,\n"
    upload = SimpleUploadedFile("corrections.csv", text.encode())

    checked = client.post(reverse(PAGE), {"file": upload, "reason": "Twice"})

    assert "The file corrects 1 event" in checked.content.decode()
    assert not UsageCorrection.objects.exists()
    done = client.post(reverse(PAGE), {"text": checked.context["text"], "reason": "Twice", "confirmed": "yes"})
    correction = UsageCorrection.objects.get()
    assert done["Location"] == reverse("admin:usage_usagecorrection_change", args=[correction.pk])
    page = client.get(done["Location"]).content.decode()
    assert "Twice" in page
    assert ">a</a>" in page


def test_the_page_lists_the_faults_of_a_file(client: Client, clerk: User, three: None) -> None:
    client.force_login(clerk)
    answer = client.post(reverse(PAGE), {"file": SimpleUploadedFile("x.csv", f"{HEADER}gateway,x,void,,,,\n".encode())})
    assert "There is no event with this source and ID." in answer.content.decode()
    answer = client.post(reverse(PAGE), {"file": SimpleUploadedFile("x.csv", b"\xff\xfe\x00")})
    assert "Save it as “CSV UTF-8”" in answer.content.decode()


def test_who_may_not_correct_is_refused(client: Client) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get(reverse(PAGE)).status_code == 403
