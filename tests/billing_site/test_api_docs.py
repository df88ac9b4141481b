"""The API reference in the browser."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse


@pytest.mark.django_db
def test_the_reference_has_no_script_that_the_content_security_policy_refuses(client: Client) -> None:
    page = client.get(reverse("api-docs"))

    assert "script-src 'self'" in page["Content-Security-Policy"]
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.content.decode(), re.DOTALL)
    assert scripts
    assert all('src="/' in attributes and not inline.strip() for attributes, inline in scripts)


@pytest.mark.django_db
def test_the_script_of_the_reference_reads_our_schema(client: Client) -> None:
    script = client.get(reverse("api-docs"), {"script": ""})

    assert script["Content-Type"].startswith("application/javascript")
    assert reverse("api-schema").replace("-", "\\u002D") in script.content.decode()
