"""What several workers count, as one server's metrics: asked of them when Prometheus asks, and put together here.

What only grows is added up, that of workers which have ended included: they counted at least what they said last. Of
what there is at a moment some is each worker's own, and is added up; the rest is the same in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

    from securecoap.cli.fleet import Fleet

__all__ = ["Gathered", "samples_of"]

_OWN: Final = frozenset(
    f"securecoap_{name}" for name in ("dtls_sessions", "edhoc_sessions", "observations", "requests_under_way")
)
_ELSEWHERE: Final = "securecoap_reloads"
"""The parent counts these."""
_GROWS: Final = frozenset({"counter", "histogram"})
_CREATED: Final = "_created"

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
Samples: TypeAlias = tuple[tuple[str, str, str, tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]], ...]
Counts: TypeAlias = dict[str, tuple[str, str, dict[Key, float]]]


def samples_of(registry: CollectorRegistry) -> Samples:
    """What a registry has now, as `securecoap.workers.messages.Counted` carries it."""
    return tuple(
        (
            metric.name,
            metric.documentation,
            metric.type,
            tuple(
                (sample.name, tuple(sorted(sample.labels.items())), sample.value)
                for sample in metric.samples
                if not sample.name.endswith(_CREATED)  # when each process began says nothing about the server
            ),
        )
        for metric in registry.collect()
        if metric.name != _ELSEWHERE
    )


class Gathered:
    """A collector of prometheus-client.

    Args:
        fleet: the parent.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lives: dict[int, int] = {}
        self._latest: dict[int, Counts] = {}
        self._before: Counts = {}

    async def refresh(self) -> None:
        """Ask the workers."""
        counted = await self._fleet.count()
        lives = {worker.number: worker.ends for worker in self._fleet.supervisor.workers}
        for number, life in lives.items():
            if self._lives.get(number, life) != life:  # another process by now
                _add(self._before, self._latest.pop(number, {}), only_growing=True)
            self._lives[number] = life
        for number, answer in counted:
            latest: Counts = {}
            for name, text, kind, samples in answer.metrics:
                latest[name] = (text, kind, {(sample, labels): value for sample, labels, value in samples})
            self._latest[number] = latest

    def health(self) -> str:
        """For who asks whether the server is alive."""
        supervisor = self._fleet.supervisor
        count = len(supervisor.workers)
        return "alive" if supervisor.ready == count else f"degraded: {supervisor.ready} of {count} workers serve"

    def collect(self) -> Iterator[Metric]:
        """See prometheus-client's collectors."""
        together: Counts = {}
        _add(together, self._before, only_growing=True)
        for number in sorted(self._latest):
            _add(together, self._latest[number], only_growing=False)
        for name, (text, kind, values) in together.items():
            metric = Metric(name, text, kind)
            for (sample, labels), value in values.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric
        supervisor = self._fleet.supervisor
        yield GaugeMetricFamily("securecoap_workers", "Workers that there should be.", len(supervisor.workers))
        yield GaugeMetricFamily("securecoap_workers_ready", "Workers that serve.", supervisor.ready)
        yield CounterMetricFamily("securecoap_worker_ends", "Workers that ended by themselves.", supervisor.restarts)


def _add(total: Counts, part: Counts, *, only_growing: bool) -> None:
    for name, (text, kind, values) in part.items():
        if only_growing and kind not in _GROWS:
            continue
        into = total.setdefault(name, (text, kind, {}))[2]
        is_sum = kind in _GROWS or name in _OWN
        for key, value in values.items():
            into[key] = into.get(key, 0.0) + value if is_sum else max(into.get(key, value), value)
