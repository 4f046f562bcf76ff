"""What an endpoint has at a moment, in numbers, for those who watch over it.

Counted when it is asked for, so that nothing is counted where nobody asks. Knows no format.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from securecoap.core.serving import Server
    from securecoap.credentials import CredentialsMap
    from securecoap.stacks import Stack

__all__ = ["Statistics", "count"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """See the module.

    Attributes:
        dtls_sessions: that live.
        observations: that peers have registered.
        requests_under_way: whose handlers work, or that are observations.
        handshake_failures: those of peers since the start, by the name of the alert, ``timeout`` for none.
        credentials: in the map.
        next_expiry: seconds until the first credential that is valid ends; ``None`` if none does.
    """

    dtls_sessions: int
    observations: int
    requests_under_way: int
    handshake_failures: Mapping[str, int]
    credentials: int
    next_expiry: float | None


def count(stacks: Iterable[Stack], server: Server | None, credentials: CredentialsMap | None) -> Statistics:
    """Count what is there now."""
    sessions = under_way = 0
    failures: dict[str, int] = {}
    for stack in stacks:
        under_way += len(stack.tokens.incoming())
        interface: Any = stack.manager.interface
        if interface.scheme == "coaps":
            sessions += sum(1 for _ in interface.sessions())
            for alert, number in interface.failures.counts.items():
                failures[alert] = failures.get(alert, 0) + number
    now = time.time()
    known = () if credentials is None else credentials.credentials()
    expiry = min((one.validity.not_after for one in known if one.validity.not_after > now), default=float("inf"))
    return Statistics(
        dtls_sessions=sessions,
        observations=0 if server is None else server.observation_count,
        requests_under_way=under_way,
        handshake_failures=failures,
        credentials=len(known),
        next_expiry=None if expiry == float("inf") else expiry - now,
    )
