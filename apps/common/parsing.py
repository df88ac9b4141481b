"""How the API reads JSON. A module of its own, since the settings name it and views read the settings."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

from rest_framework import exceptions
from rest_framework.parsers import JSONParser


class ExactJSONParser(JSONParser):
    """Reads numbers with every digit. What cannot be read at all is refused, and never stops a worker."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            text = codecs.getreader("utf-8")(stream).read()
            found = json.loads(text, parse_float=Decimal, parse_constant=_no_number)
            if "\\ud" in text.lower():
                _refuse_half_characters(found)
            return found
        except (ValueError, ArithmeticError, RecursionError) as error:
            # An exponent that no Decimal has is an ArithmeticError; a thousand brackets deep is a RecursionError.
            raise exceptions.ParseError(f"JSON parse error - {error}") from error


def _refuse_half_characters(found: Any) -> None:
    """JSON can spell half of a surrogate pair, which no text has and no answer can repeat."""
    try:
        json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise exceptions.ParseError("A text holds half of a character, such as \\ud800. Leave it out.") from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
