"""Errors as problem+json (RFC 9457), as values: for every way in, whatever framework it runs on."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError

from apps.common.errors import BillingError

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
# Of PostgreSQL's classes of errors, those that say nothing about the request: a lost connection, a deadlock or a
# serialization failure, too few resources, a lock that was not to be had, an operator's intervention, a failed disk.
_PASSING = {"08", "40", "53", "55", "57", "58"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request.

    ``index`` is the place in a list that was sent, None outside of lists; ``field`` is a path such as
    ``data.input_tokens``.
    """

    field: str | None
    code: str
    detail: str
    index: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class InvalidBatch(BillingError):
    """A list that was refused whole, with every fault found in it."""

    code = "invalid_batch"
    status = 400

    def __init__(self, detail: str, *, errors: Sequence[Fault]) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class TryAgain(BillingError):
    """We cannot serve this now, and shall soon."""

    code = "try_again"
    status = 503
    headers = {"Retry-After": "1"}


class StorageUnavailable(TryAgain):
    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__("The database cannot be reached right now. Send the same request again.")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer: its status, the members of its body, and the headers that go with it."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_body(status: int, code: str, detail: str) -> dict[str, Any]:
    """The members that every problem has."""
    return {
        "type": f"urn:countinghouse:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }


def problem_with(status: int, code: str, detail: str, faults: Sequence[Fault] = ()) -> Problem:
    body = problem_body(status, code, detail)
    if faults:
        body["errors"] = [fault.as_dict() for fault in faults]
    return Problem(status, body)


def problem_of_refusal(error: BillingError) -> Problem:
    faults: Sequence[Fault] = ()
    if isinstance(error, InvalidBatch):
        faults = error.errors
    elif error.field is not None:
        faults = [Fault(field=error.field, code=error.code, detail=error.detail)]
    problem = problem_with(error.status, error.code, error.detail, faults)
    return Problem(problem.status, problem.body, error.headers)


def problem_of_failure(error: Exception, *, where: str) -> Problem:
    """What went wrong inside is for the log, not for the caller."""
    logger.error("unhandled error in %s", where, exc_info=error)
    if is_passing(error):
        return problem_of_refusal(StorageUnavailable())
    return problem_with(500, "internal_error", "Something went wrong on our side. It has been logged; try again.")


def is_passing(error: BaseException) -> bool:
    """Whether the database failed for reasons that have nothing to do with what it was asked: a retry may succeed."""
    if not isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError):
        return False
    sqlstate = getattr(error if isinstance(error, psycopg.Error) else error.__cause__, "sqlstate", None)
    return sqlstate is None or sqlstate[:2] in _PASSING
