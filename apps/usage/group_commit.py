"""Group commit: what many requests send is stored in one transaction, and each is answered once that has committed.

A commit costs a flush of the disk, whether it holds one event or thousands. So a thread with a connection of its own
takes all requests that wait, checks and stores them together; while it waits for the database, another does the same
with those that came meanwhile. Nothing waits for company: a request that is alone is stored alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db import connection

from apps.common.problems import StorageUnavailable, TryAgain, is_passing
from apps.usage.cloudevents import Rules
from apps.usage.intake import Answer, Batches, Intake, rules_now, store
from apps.usage.services import EventBatch, RecordedBatch

logger = logging.getLogger(__name__)

# A group is closed by the request that takes it to this many events; what then still waits makes up the next one.
MOST_EVENTS = 10_000


class TooMuchWaits(TryAgain):
    code = "too_much_waits"

    def __init__(self) -> None:
        super().__init__("More is being sent than can be stored. Send the same request again in a moment.")


class ShuttingDown(TryAgain):
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("This server is being stopped. Send the same request again in a moment.")


class Waiting:
    """A request that was taken and is not answered yet."""

    __slots__ = ("answered", "api_key_id", "body", "intake")

    def __init__(self, intake: Intake, body: bytes, api_key_id: int, answered: asyncio.Future[Answer]) -> None:
        self.intake = intake
        self.body = body
        self.api_key_id = api_key_id
        self.answered = answered


@dataclass(slots=True)
class _Read:
    """A request whose events are known."""

    waiting: Waiting
    batches: Batches


class GroupCommit:
    """The threads, and the queue before them. All methods but ``_run`` and what it calls belong to the event loop.

    The queue is bounded, in requests and in bytes: beyond, a request is refused at once and may come again.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._is_open = False
        self._most_requests: int = settings.INGEST_MAX_WAITING
        self._most_bytes: int = settings.INGEST_MAX_WAITING_BYTES
        self._requests = 0
        self._bytes = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._run, name=f"group-commit-{number}", daemon=True)
            for number in range(settings.INGEST_WRITERS)
        ]
        for thread in self._threads:
            thread.start()
        self._is_open = True

    async def stop(self) -> None:
        """Take nothing more, and return once all that was taken is answered."""
        self._is_open = False
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def store(self, intake: Intake, body: bytes, api_key_id: int) -> Answer:
        """Store what a request sends, and return its answer. Raises TryAgain where that cannot be done now."""
        if not self._is_open or self._loop is None:
            raise ShuttingDown
        size = len(body)
        if self._requests and (self._requests >= self._most_requests or self._bytes + size > self._most_bytes):
            raise TooMuchWaits
        self._requests += 1
        self._bytes += size
        try:
            waiting = Waiting(intake, body, api_key_id, self._loop.create_future())
            self._queue.put(waiting)
            return await waiting.answered
        finally:
            self._requests -= 1
            self._bytes -= size

    def _answer(self, answers: Sequence[tuple[Waiting, Answer]]) -> None:
        for waiting, answer in answers:
            if not waiting.answered.done():  # The client may have gone.
                waiting.answered.set_result(answer)

    # --- In the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            is_open = True
            while is_open:
                waiting = self._queue.get()
                group: list[Waiting] = []
                while waiting is not None:
                    group.append(waiting)
                    try:
                        waiting = self._queue.get_nowait()
                    except Empty:
                        break
                # Each writer ends after what it has taken, at a sign of its own.
                is_open = waiting is not None
                self._take(group)
        finally:
            connection.close()

    def _take(self, group: Sequence[Waiting]) -> None:
        """Check and store the requests that wait, in one group if that is not too large, else in several."""
        rules: Rules | None = None
        read: list[_Read] = []
        answers: list[tuple[Waiting, Answer]] = []
        events = 0
        for waiting in group:
            try:
                if rules is None:
                    rules = _rules()
                batches = waiting.intake.read(waiting.body, rules)
            except Exception as error:
                answers.append((waiting, waiting.intake.refusal(error)))
                continue
            read.append(_Read(waiting, batches))
            events += sum(map(len, batches))
            if events >= MOST_EVENTS:
                self._hand_over(answers + _stored(read))
                read, answers, events = [], [], 0
        self._hand_over(answers + _stored(read))

    def _hand_over(self, answers: list[tuple[Waiting, Answer]]) -> None:
        if answers and self._loop is not None:
            self._loop.call_soon_threadsafe(self._answer, answers)


def _stored(group: list[_Read]) -> list[tuple[Waiting, Answer]]:
    """Store a group in one transaction; if that fails, each request by itself, so that none fails for another."""
    if not group:
        return []
    try:
        recorded = _record([batch for read in group for batch in _event_batches(read)])
    except Exception as error:
        if is_passing(error) and not _is_connected():
            logger.exception("the database is away; %d requests are asked to come again", len(group))
            return [(read.waiting, read.waiting.intake.refusal(StorageUnavailable())) for read in group]
        if len(group) > 1:
            logger.warning("a group of %d requests failed; each is stored by itself", len(group), exc_info=True)
        return [(read.waiting, _stored_alone(read)) for read in group]
    answers, position = [], 0
    for read in group:
        end = position + len(read.batches)
        answers.append((read.waiting, _answer_of(read, recorded[position:end])))
        position = end
    return answers


def _stored_alone(read: _Read) -> Answer:
    try:
        recorded = _record(_event_batches(read))
    except Exception as error:
        return read.waiting.intake.refusal(error)
    return _answer_of(read, recorded)


def _answer_of(read: _Read, recorded: Sequence[RecordedBatch]) -> Answer:
    try:
        return read.waiting.intake.answer(recorded)
    except Exception as error:  # A mistake of ours must not leave the others without an answer.
        return read.waiting.intake.refusal(error)


def _event_batches(read: _Read) -> list[EventBatch]:
    return [EventBatch(events, read.waiting.api_key_id) for events in read.batches]


def _record(batches: list[EventBatch]) -> list[RecordedBatch]:
    """Store, with one more attempt on a new connection: the server may have been restarted since the last one."""
    try:
        return store(batches)
    except Exception as error:
        if not is_passing(error):
            raise
    connection.close()
    return store(batches)


def _rules() -> Rules:
    try:
        return rules_now()
    except Exception as error:
        if not is_passing(error):
            raise
    connection.close()
    return rules_now()


def _is_connected() -> bool:
    return connection.connection is not None and connection.is_usable()
