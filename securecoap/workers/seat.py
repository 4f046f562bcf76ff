"""The place of one process among those that serve the same ports: what the layers of an endpoint are told of it.

An endpoint without a seat has its ports and its state for itself. Knows neither messages nor credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.dtls.connection_id import worker_of

if TYPE_CHECKING:
    from securecoap.transports.datagram import Received, SocketAddress
    from securecoap.workers.lanes import Lanes
    from securecoap.workers.numbers import SharedStore

__all__ = ["Seat"]


class Seat:
    """See the module.

    Args:
        number: of this process, from 0.
        secret: from which all of them derive the keys of cookies and tickets.
        store: has the state of security contexts.
        lanes: lead to the others.

    Attributes:
        number, secret, store: as given.
    """

    __slots__ = ("_binds", "_lanes", "number", "secret", "store")

    def __init__(self, number: int, secret: bytes, store: SharedStore, lanes: Lanes) -> None:
        self.number = number
        self.secret = secret
        self.store = store
        self._lanes = lanes
        self._binds = 0

    def __repr__(self) -> str:
        return f"<Seat {self.number}>"

    def share(self, received: Received) -> Received:
        """What takes the datagrams of the next bind, in front of what takes those of this process' sessions.

        A record with a connection ID of another worker is handed over to it (RFC 9146: it came from an address that the
        client did not have when the session began). Everything else is this worker's: the system gives all datagrams
        from one address to the same socket of a group as long as the group does not change.
        """
        bind = self._binds
        self._binds += 1
        number, hand_over = self.number, self._lanes.hand_over
        self._lanes.takers[bind] = received

        def take(data: bytes, peer: SocketAddress, local: bytes | None) -> None:
            worker = worker_of(data)
            if worker is None or worker == number or not hand_over(worker, bind, data, peer, local):
                received(data, peer, local)

        return take
