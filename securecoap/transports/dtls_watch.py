"""What ends a session, or asks after it, by the clock: a server that is silent, and a credential that has expired.

Must not know sockets or the engine: what is to be done is for whoever asked.
"""

from __future__ import annotations

from math import inf
from time import time as wall_clock
from typing import TYPE_CHECKING, Final

from securecoap.clock import clock_of
from securecoap.core.deadlines import Deadlines
from securecoap.dtls.session import Role
from securecoap.wire import numbers
from securecoap.wire.message import CON

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import TransportParameters
    from securecoap.dtls.engine import DtlsSession
    from securecoap.interfaces import Scheduler
    from securecoap.transports.dtls_address import DtlsAddress
    from securecoap.wire.message import Message

__all__ = ["SessionWatch", "expects_answer"]

_NO_RESPONSE_BIT: Final = 1 << numbers.NO_RESPONSE

_EXPIRY_INTERVAL: Final = 60.0
"""Seconds between two looks at a credential that ends some day: clocks may be set."""


def expects_answer(message: Message) -> bool:
    """Whether a server that gets this says something."""
    return message.mtype == CON or (0 < (message.code or 0) < 32 and not message.options.present & _NO_RESPONSE_BIT)


class SessionWatch:
    """Watches the sessions of one bound endpoint.

    Args:
        scheduler: time and timers.
        timing: how long a server may be silent while something is expected of it: two transmissions.
        ask: called with a server that was silent for longer, and again while it is.
        expire: called with a session whose credential is not valid any more.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        timing: TransportParameters,
        ask: Callable[[DtlsAddress], None],
        expire: Callable[[DtlsSession], None],
    ) -> None:
        self._time = clock_of(scheduler)
        self._patience = 2 * timing.ack_timeout * timing.ack_random_factor
        self._ask = ask
        self._expire = expire
        self._silences: Deadlines[DtlsAddress] = Deadlines(scheduler, self._listen)
        self._expiries: Deadlines[DtlsSession] = Deadlines(scheduler, self._look_at_validity)

    def expect(self, remote: DtlsAddress) -> None:
        """Note that something went out to which an answer is expected, with nothing heard since before."""
        remote.silent_since = self._time()
        if not remote.watched and remote.session.role is Role.CLIENT:
            remote.watched = True
            self._silences.add(remote.silent_since + self._patience, remote)

    def doubt(self, remote: DtlsAddress) -> None:
        """Treat a silence as if it lasted too long already."""
        remote.silent_since = min(remote.silent_since, self._time() - self._patience)

    def is_doubtful(self, remote: DtlsAddress) -> bool:
        """Say whether a server has been silent for too long."""
        since = remote.silent_since
        return remote.session.role is Role.CLIENT and bool(since) and self._time() - since >= self._patience

    def watch_validity(self, session: DtlsSession) -> None:
        """Look after a credential that ends some day; a client that stayed anonymous has none."""
        not_after = inf if session.source is None else session.source.validity.not_after
        if not_after != inf:
            self._expiries.add(self._time() + min(not_after - wall_clock(), _EXPIRY_INTERVAL), session)

    def close(self) -> None:
        """Watch nothing any more."""
        self._silences.close()
        self._expiries.close()

    def _look_at_validity(self, session: DtlsSession, _now: float) -> None:
        if not session.alive:
            return
        if wall_clock() >= session.source.validity.not_after:
            self._expire(session)
        else:
            self.watch_validity(session)

    def _listen(self, remote: DtlsAddress, now: float) -> None:
        remote.watched = False
        if not remote.session.alive or not remote.silent_since:
            return
        remote.watched = True
        doubtful_at = remote.silent_since + self._patience
        if now < doubtful_at:
            self._silences.add(doubtful_at, remote)
            return
        self._silences.add(now + 2 * self._patience, remote)
        self._ask(remote)
