"""A price list survives each of its three forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from apps.products.price_lists.document import PriceList
from apps.products.price_lists.files import FileForm, read_file, write_file
from tests.products.price_lists.documents import price_lists


@settings(max_examples=60)
@given(price_lists())
def test_yaml_brings_back_the_whole_document(document: PriceList) -> None:
    read = read_file(write_file(document, FileForm.YAML), "list.yaml")

    assert read.faults == ()
    assert read.document == document


@settings(max_examples=60)
@given(price_lists())
def test_yaml_written_again_is_the_same_text(document: PriceList) -> None:
    written = write_file(document, FileForm.YAML)

    assert write_file(read_file(written, "list.yaml").document, FileForm.YAML) == written


@pytest.mark.parametrize("form", [FileForm.CSV, FileForm.XLSX])
@settings(max_examples=25)
@given(document=price_lists())
def test_a_table_brings_back_the_plans(document: PriceList, form: FileForm) -> None:
    read = read_file(write_file(document, form), f"list.{form}")

    assert read.faults == ()
    assert read.document == document.plans_only
