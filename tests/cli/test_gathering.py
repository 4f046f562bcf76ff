"""The metrics of several processes as those of one server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from securecoap.cli.gathering import Gathered, samples_of
from securecoap.workers.messages import Counted


class Worker:
    """One process' metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("securecoap_requests", "Requests.", ("code",), registry=self.registry)
        self.seconds = Histogram("securecoap_seconds", "Seconds.", buckets=(1.0,), registry=self.registry)
        self.sessions = Gauge("securecoap_dtls_sessions", "Sessions.", registry=self.registry)
        self.credentials = Gauge("securecoap_credentials", "Credentials.", registry=self.registry)
        Counter("securecoap_reloads", "The parent counts them.", registry=self.registry)


class Fleet:
    """A stand-in for the parent."""

    def __init__(self, *workers: Worker) -> None:
        self.workers: list[Worker | None] = list(workers)
        self.supervisor: Any = SimpleNamespace(
            workers=[SimpleNamespace(number=number, ends=0) for number in range(len(workers))],
            ready=len(workers),
            restarts=0,
        )

    async def count(self) -> list[tuple[int, Counted]]:
        return [(number, Counted(samples_of(one.registry))) for number, one in enumerate(self.workers) if one]


def read(gathered: Gathered) -> dict[str, float]:
    asyncio.run(gathered.refresh())
    registry = CollectorRegistry()
    registry.register(gathered)
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_what_is_each_workers_own_is_added_up() -> None:
    one, two = Worker(), Worker()
    gathered = Gathered(Fleet(one, two))  # type: ignore[arg-type]  # a stand-in
    one.requests.labels("2.05").inc(3)
    two.requests.labels("2.05").inc(4)
    two.requests.labels("4.04").inc()
    one.seconds.observe(0.5)
    two.seconds.observe(2)
    one.sessions.set(5)
    two.sessions.set(6)
    one.credentials.set(10)
    two.credentials.set(10)
    values = read(gathered)
    assert values["securecoap_requests_total[2.05]"] == 7
    assert values["securecoap_requests_total[4.04]"] == 1
    assert values["securecoap_seconds_bucket[1.0]"] == 1
    assert values["securecoap_seconds_bucket[+Inf]"] == values["securecoap_seconds_count"] == 2
    assert values["securecoap_seconds_sum"] == 2.5
    assert values["securecoap_dtls_sessions"] == 11
    assert values["securecoap_credentials"] == 10
    assert values["securecoap_workers"] == values["securecoap_workers_ready"] == 2
    assert not any("created" in name or "reloads" in name for name in values)


def test_what_only_grows_never_falls() -> None:
    one, two = Worker(), Worker()
    fleet = Fleet(one, two)
    gathered = Gathered(fleet)  # type: ignore[arg-type]  # a stand-in
    one.requests.labels("2.05").inc(3)
    one.sessions.set(5)
    assert read(gathered)["securecoap_requests_total[2.05]"] == 3
    fleet.workers[0] = None
    fleet.supervisor.ready, fleet.supervisor.restarts = 1, 1
    fleet.supervisor.workers[0].ends = 1
    values = read(gathered)
    assert values["securecoap_requests_total[2.05]"] == 3
    assert values["securecoap_dtls_sessions"] == 0
    assert values["securecoap_worker_ends_total"] == 1
    assert gathered.health() == "degraded: 1 of 2 workers serve"
    fleet.workers[0] = again = Worker()
    again.requests.labels("2.05").inc(2)
    again.sessions.set(1)
    fleet.supervisor.ready = 2
    values = read(gathered)
    assert values["securecoap_requests_total[2.05]"] == 5
    assert values["securecoap_dtls_sessions"] == 1
    assert gathered.health() == "alive"


def test_who_does_not_answer_counts_what_it_said_last() -> None:
    one, two = Worker(), Worker()
    fleet = Fleet(one, two)
    gathered = Gathered(fleet)  # type: ignore[arg-type]  # a stand-in
    one.requests.labels("2.05").inc(3)
    read(gathered)
    fleet.workers[0] = None
    assert read(gathered)["securecoap_requests_total[2.05]"] == 3
