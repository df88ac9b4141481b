"""How often a key may ask: a bucket for each key, which holds a minute's requests and refills evenly.

Without a Redis each process keeps buckets of its own. With one they are shared, at the price of one round trip for
each request of a key that has a limit; while Redis is away each process counts for itself again.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from dataclasses import dataclass

import redis
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from apps.access.selectors import LiveKey
from apps.common.errors import BillingError

logger = logging.getLogger(__name__)

MINUTE = 60.0
REDIS_TIMEOUT = 0.25
REDIS_REST = 5.0  # Seconds in which a Redis that failed is left alone.

# A bucket is one number: the instant at which it will be full again (GCRA). Redis' own clock counts, in
# microseconds, so that the clocks of our machines need not agree.
_TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + 60000000 / tonumber(ARGV[1])
local wait = full_at - now - 60000000
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', 120000)
return 0
"""


class RateLimited(BillingError):
    code = "rate_limited"
    status = 429

    def __init__(self, limit: int, wait: float) -> None:
        seconds = math.ceil(wait)
        super().__init__(
            f"This API key may send {limit:,} requests a minute. Wait {seconds} s, or send more events in one request."
        )
        self.headers = {"Retry-After": str(seconds)}


@dataclass(frozen=True, slots=True)
class Defaults:
    """The settings, of which reading each one costs more than taking a request."""

    requests_per_minute: int | None
    redis_url: str


@functools.cache
def defaults() -> Defaults:
    return Defaults(settings.API_REQUESTS_PER_MINUTE or None, settings.API_RATE_LIMIT_REDIS_URL)


@receiver(setting_changed)
def _read_defaults_anew(**_: object) -> None:
    defaults.cache_clear()  # Only tests change settings.


def waits_for_network(key: LiveKey) -> bool:
    """Whether ``take_request`` asks Redis."""
    return bool(defaults().redis_url) and _limit_of(key) is not None


def take_request(key: LiveKey) -> None:
    """Take one request out of the key's bucket. Raises RateLimited when there is none."""
    limit = _limit_of(key)
    if limit is None:
        return
    url = defaults().redis_url
    wait = _shared.take(url, key.id, limit) if url else None
    if wait is None:
        wait = _take_here(key.id, limit, time.monotonic())
    if wait > 0:
        raise RateLimited(limit, wait)


def _limit_of(key: LiveKey) -> int | None:
    return key.requests_per_minute or defaults().requests_per_minute


def forget_requests() -> None:
    """Fill every bucket of this process."""
    _full_at.clear()


_full_at: dict[int, float] = {}
_lock = threading.Lock()


def _take_here(key_id: int, limit: int, now: float) -> float:
    """Seconds to wait; 0 when a request was taken."""
    with _lock:
        full_at = max(_full_at.get(key_id, now), now) + MINUTE / limit
        # A bucket of one would otherwise be short of its one request by a rounding error.
        if full_at > now + MINUTE + 1e-9:
            return full_at - now - MINUTE
        _full_at[key_id] = full_at
        return 0.0


class _SharedBuckets:
    """The buckets in Redis. A failure is survived: the limit keeps order, it guards no money."""

    def __init__(self) -> None:
        self._rests_until = 0.0

    def take(self, url: str, key_id: int, limit: int) -> float | None:
        """Seconds to wait; 0 when a request was taken; None while Redis is away."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            wait = _redis(url).eval(_TAKE, 1, f"countinghouse:rate:{key_id}", str(limit))
        except redis.RedisError:
            self._rests_until = time.monotonic() + REDIS_REST
            logger.warning("Redis is away; each process counts requests for itself", exc_info=True)
            return None
        return int(wait) / 1_000_000


_shared = _SharedBuckets()


@functools.lru_cache(maxsize=4)
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT)
