"""What the parent and a worker tell each other. Plain values; who sends them when is `supervisor`'s affair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Beat",
    "Boot",
    "Count",
    "Counted",
    "Drain",
    "Failed",
    "Granted",
    "Need",
    "Ready",
    "Switch",
    "Switched",
]


@dataclass(frozen=True, slots=True)
class Boot:
    """To a worker, first: everything that it is told.

    Attributes:
        number: of the worker, from 0.
        secret: under which cookies and tickets of all workers are made.
        memory: descriptor of the shared memory.
        parcel: dumped: the credentials in force, or ``None``, and the slots of the security contexts by fingerprint.
        lanes: descriptors, one for each worker: where it is reached.
        lane: the descriptor at which this one reads.
        sockets: the bound ones: URI and descriptor.
        settings: what the command line says.
    """

    number: int
    secret: bytes = field(repr=False)
    memory: int
    parcel: bytes = field(repr=False)
    lanes: tuple[int, ...]
    lane: int
    sockets: tuple[tuple[str, int], ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Switch:
    """To a worker: go on with other credentials, which are in the parcel. It answers `Switched`."""

    parcel: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Granted:
    """To a worker: a context has more numbers, or ``fault`` says why not."""

    fingerprint: bytes
    fault: str | None


@dataclass(frozen=True, slots=True)
class Count:
    """To a worker: what is to be counted? It answers `Counted`."""


@dataclass(frozen=True, slots=True)
class Drain:
    """To a worker: answer what is under way, and end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it serves these URIs."""

    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: it cannot serve, and ends."""

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """From a worker, now and then: its event loop turns."""


@dataclass(frozen=True, slots=True)
class Need:
    """From a worker: a context is running out of numbers. The parent answers `Granted`, to all."""

    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Switched:
    """From a worker: it goes on with the other credentials, unless there are faults."""

    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """From a worker: name, text, kind and samples (name, labels, value) of each metric."""

    metrics: tuple[tuple[str, str, str, tuple[tuple[str, tuple[tuple[str, str], ...], float], ...]], ...]
