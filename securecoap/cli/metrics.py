"""``serve --metrics HOST:PORT``: what a server does, for Prometheus; and ``/health`` and ``/ready`` for who starts it.

Requests are counted by standing in front of what answers them; where nobody asks for metrics, nothing of this is there.
The endpoint speaks as much HTTP as a scraper needs. It has neither encryption nor a password: it belongs on loopback.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import accumulate
from operator import itemgetter
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from securecoap.cli import logs
from securecoap.cli.gathering import Gathered
from securecoap.errors import ConfigurationError
from securecoap.events import CREDENTIAL_ENDS, LIMIT_NAMES, LIMIT_REACHED
from securecoap.expiry import WARNING_DAYS
from securecoap.wire.codes import DEFAULT_RESPONSE_CODES, Code, dotted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from securecoap.cli.fleet import Fleet
    from securecoap.interfaces import IncomingPlumbing, RequestHandler
    from securecoap.statistics import Statistics
    from securecoap.wire.message import Message

__all__ = ["Answered", "Metrics", "address_of", "serving_metrics"]

_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0)
_LONGEST_HEAD: Final = 8192
_PATIENCE: Final = 5.0
"""Seconds for a request of HTTP."""
_NAMED: Final = 100
_LARGEST_PORT: Final = 65_535


class Metrics:
    """What is counted, and what is read when it is asked for."""

    def __init__(self) -> None:
        self._gathered: Gathered | None = None
        self.registry = CollectorRegistry()
        self.answered = Answered()
        self.registry.register(self.answered)
        self.reloads = Counter(
            "securecoap_reloads",
            "Times that the credentials were to be read again.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in ("good", "failed"):
            self.reloads.labels(outcome)

    def reloaded(self, has_succeeded: bool) -> None:
        """Count a reload."""
        self.reloads.labels("good" if has_succeeded else "failed").inc()

    def gather(self, fleet: Fleet) -> None:
        """Have what the workers of a server count; only reloads are counted here then."""
        self._gathered = Gathered(fleet)
        self.registry = CollectorRegistry()
        for collector in (self._gathered, self.reloads):
            self.registry.register(collector)

    async def refresh(self) -> None:
        """Ask whoever else counts, before `registry` is read."""
        if self._gathered is not None:
            await self._gathered.refresh()

    def health(self) -> str:
        """Who asks is answered; this says how well."""
        return "alive" if self._gathered is None else self._gathered.health()

    def measure(self, handler: RequestHandler) -> RequestHandler:
        """A handler that counts what another one answers."""
        return _Measured(handler, self.answered)

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        """Read these whenever the metrics are asked for."""
        self.registry.register(_Collector(statistics))


class Answered:
    """Requests that were answered, and how long that took: integers in tables, made into metrics when they are read.

    What prometheus-client has for it takes locks and looks labels up, which for each request would cost as much as the
    request.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int, str], int] = {}
        self._slots: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def count(self, method: int, code: int, security: str, seconds: float) -> None:
        """Count one."""
        key = (method, code, security)
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        slots = self._slots.get(security)
        if slots is None:
            slots = self._slots[security] = [0] * (len(_BUCKETS) + 1)
            self._sums[security] = 0.0
        slots[bisect_left(_BUCKETS, seconds)] += 1
        self._sums[security] += seconds

    def collect(self) -> Iterator[Metric]:
        """See prometheus-client's collectors."""
        requests = CounterMetricFamily(
            "securecoap_requests", "Requests that were answered.", labels=("method", "code", "security")
        )
        for (method, code, security), number in self._counts.items():
            requests.add_metric((Code(method).name if method else "other", dotted(code), security), number)
        yield requests
        seconds = HistogramMetricFamily(
            "securecoap_request_seconds", "From a request to its (first) response.", labels=("security",)
        )
        bounds = [*map(str, _BUCKETS), "+Inf"]
        for security, slots in self._slots.items():
            buckets = list(zip(bounds, accumulate(slots), strict=True))
            seconds.add_metric((security,), buckets, self._sums[security])
        yield seconds


class _Measured:
    """A `RequestHandler` in front of another one."""

    def __init__(self, handler: RequestHandler, answered: Answered) -> None:
        self._handle = handler.handle
        self._count = answered.count
        self.reduce = handler.reduce
        self.discard_peer = handler.discard_peer

    def handle(self, incoming: IncomingPlumbing) -> None:
        """See `RequestHandler.handle`."""
        self._handle(_Incoming(incoming, self._count))


class _Incoming:
    """A request whose first response is counted; everything else is the request's own."""

    __slots__ = ("_add_response", "_began", "_count", "_incoming", "request")

    def __init__(self, incoming: IncomingPlumbing, count: Callable[[int, int, str, float], None]) -> None:
        self.request = incoming.request
        self._incoming = incoming
        self._add_response = incoming.add_response
        self._count = count
        self._began = perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._incoming, name)

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """See `PlumbingRequest.add_response`."""
        if self._began:
            request = self.request
            method = request.code or 0
            # The method is the peer's to choose: what is none of ours has one name.
            known = DEFAULT_RESPONSE_CODES.get(method)
            code = message.code or known or Code.CONTENT
            self._count(0 if known is None else method, code, request.remote.security, perf_counter() - self._began)
            self._began = 0.0
        self._add_response(message, is_last=is_last)


class _Collector:
    """The numbers of the moment."""

    def __init__(self, statistics: Callable[[], Statistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """See prometheus-client's collectors."""
        now = self._statistics()
        for name, text, value in (
            ("dtls_sessions", "DTLS sessions that live.", now.dtls_sessions),
            ("edhoc_sessions", "OSCORE contexts that EDHOC agreed on, and that live.", now.edhoc_sessions),
            ("observations", "Observations that clients have registered.", now.observations),
            ("requests_under_way", "Requests that are still answered, and observations.", now.requests_under_way),
            ("credentials", "Entries of the credentials in force.", now.credentials),
        ):
            yield GaugeMetricFamily(f"securecoap_{name}", text, value)
        yield from _endings(now)
        yield from _events(now)


def _endings(now: Statistics) -> Iterator[Metric]:
    """Labels are the operator's words; of very many the first to end are named."""
    moment = time()
    each = GaugeMetricFamily(
        "securecoap_credential_expiry_timestamp_seconds",
        f"When a credential ends, in seconds since 1970; the {_NAMED} that end first.",
        labels=("credential",),
    )
    for end, label in now.endings[:_NAMED]:
        each.add_metric((label,), end)
    yield each
    over = bisect_right(now.endings, moment, key=itemgetter(0))
    soon = bisect_right(now.endings, moment + WARNING_DAYS * 86_400, key=itemgetter(0)) - over
    together = GaugeMetricFamily(
        "securecoap_credentials_ending",
        f"Credentials that end in {WARNING_DAYS} days (soon), or have ended (over).",
        labels=("state",),
    )
    together.add_metric(("soon",), soon)
    together.add_metric(("over",), over)
    yield together


def _events(now: Statistics) -> Iterator[Metric]:
    """The causes are words of ours, never a peer's."""
    failures = CounterMetricFamily(
        "securecoap_failures", "What went wrong with peers, by event and cause.", labels=("event", "cause")
    )
    limits = CounterMetricFamily(
        "securecoap_limits_reached", "Refused, dropped or evicted at a bound of [limits].", labels=("limit",)
    )
    for name in LIMIT_NAMES:
        limits.add_metric((name,), now.events.get((LIMIT_REACHED, name), 0))
    for (event, cause), number in now.events.items():
        if event not in (LIMIT_REACHED, CREDENTIAL_ENDS):
            failures.add_metric((event, cause), number)
    yield failures
    yield limits


def address_of(where: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``[HOST]:PORT`` or ``PORT``, which is on loopback.

    Raises:
        ConfigurationError: it is none of these.
    """
    host, _, port = where.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT):
        raise ConfigurationError(f"--metrics {where}: HOST:PORT is expected")
    return host.strip("[]") or "127.0.0.1", int(port)


@asynccontextmanager
async def serving_metrics(metrics: Metrics, where: str, is_ready: Callable[[], bool]) -> AsyncIterator[str]:
    """Serve over HTTP while the body runs.

    Args:
        metrics: at ``/metrics``.
        where: ``HOST:PORT``; a port alone means loopback.
        is_ready: whether ``/ready`` says so; ``/health`` says that the process answers.

    Yields:
        The URI of the metrics.

    Raises:
        ConfigurationError: it cannot be bound.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                await metrics.refresh()
                writer.write(_answer(head, metrics, is_ready))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who does not speak HTTP gets no answer
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(talk, *address_of(where), limit=_LONGEST_HEAD)
    except OSError as error:
        raise ConfigurationError(f"--metrics {where}: {error}") from None
    async with server:
        bound = server.sockets[0].getsockname()
        if not ip_address(bound[0].partition("%")[0]).is_loopback:
            text = f"--metrics {where}: others than this machine may read what the server does, and for whom"
            logs.event(logs.WARNING, "metrics-exposed", text, address=bound[0])
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}/metrics"


def _answer(head: bytes, metrics: Metrics, is_ready: Callable[[], bool]) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, body, kind = "404 Not Found", b"there are /metrics, /health and /ready\n", "text/plain"
    if method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b""
    elif path == b"/metrics":
        status, body, kind = "200 OK", generate_latest(metrics.registry), CONTENT_TYPE_LATEST
    elif path == b"/health":
        status, body = "200 OK", f"{metrics.health()}\n".encode()
    elif path == b"/ready":
        status, body = ("200 OK", b"ready\n") if is_ready() else ("503 Service Unavailable", b"not ready\n")
    answer = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return answer.encode() + (b"" if method == b"HEAD" else body)
