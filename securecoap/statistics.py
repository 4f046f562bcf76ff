"""What an endpoint has at a moment, in numbers, for those who watch over it.

What there is, is counted when it is asked for; what went wrong is counted where it is reported (`securecoap.events`).
So nothing is counted for a message that is good. Knows no format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from securecoap.core.serving import Server
    from securecoap.events import Events
    from securecoap.keyring import Keyring
    from securecoap.stacks import Stack

__all__ = ["Statistics", "count"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """See the module.

    Attributes:
        dtls_sessions: that live.
        edhoc_sessions: OSCORE contexts that EDHOC agreed on, and that live.
        observations: that peers have registered.
        requests_under_way: whose handlers work, or that are observations.
        events: how often things went wrong since the start, by event and cause; see `securecoap.events`.
        credentials: entries in the map.
        endings: when labels end (seconds since 1970) and which, those that never do left out, the first one first.
    """

    dtls_sessions: int
    edhoc_sessions: int
    observations: int
    requests_under_way: int
    events: Mapping[tuple[str, str], int]
    credentials: int
    endings: tuple[tuple[float, str], ...]


def count(stacks: Iterable[Stack], server: Server | None, keyring: Keyring, events: Events) -> Statistics:
    """Count what is there now."""
    sessions = under_way = 0
    for stack in stacks:
        under_way += len(stack.tokens.incoming())
        interface: Any = stack.manager.interface
        if interface.scheme == "coaps":
            sessions += sum(1 for _ in interface.sessions())
    credentials = keyring.credentials
    return Statistics(
        dtls_sessions=sessions,
        edhoc_sessions=keyring.edhoc_session_count,
        observations=0 if server is None else server.observation_count,
        requests_under_way=under_way,
        events=dict(events.counts),
        credentials=0 if credentials is None else len(credentials.entries),
        endings=() if credentials is None else credentials.endings,
    )
