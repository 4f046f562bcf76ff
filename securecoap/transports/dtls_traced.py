"""`DtlsInterface` whose messages and handshakes a tracer sees. What is shown of them is the tracer's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.records import ContentType
from securecoap.tracing import TracedDispatcher
from securecoap.transports.dtls import DtlsInterface
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from securecoap.interfaces import MessageDispatcher
    from securecoap.tracing import Tracer
    from securecoap.transports.datagram import Received, SocketAddress
    from securecoap.transports.dtls_address import DtlsAddress

__all__ = ["TracedDtlsInterface"]

_SEALED: Final = frozenset({ContentType.APPLICATION_DATA, ContentType.TLS12_CID})


class TracedDtlsInterface(DtlsInterface):
    """See the module; further arguments are those of `DtlsInterface`."""

    def __init__(
        self,
        host: str,
        port: int,
        above: MessageDispatcher,
        loop: asyncio.AbstractEventLoop,
        *,
        tracer: Tracer,
        share: Callable[[Received], Received] | None = None,
        **arguments: Any,
    ) -> None:
        self._tracer = tracer

        def watched(received: Received) -> Received:
            return self._watched(received if share is None else share(received))

        super().__init__(host, port, TracedDispatcher(above, tracer), loop, share=watched, **arguments)

    def _watched(self, received: Received) -> Received:
        """Shows handshakes and alerts; what is sealed is shown as the message that it becomes."""

        def watch(data: bytes, peer: SocketAddress, local: bytes | None) -> object:
            if data and data[0] not in _SEALED:
                self._tracer.handshake(data, peer, is_sent=False)
            return received(data, peer, local)

        return watch

    def transmit(self, datagram: bytes, peer: Any) -> None:
        """See `DtlsEvents`."""
        self._tracer.handshake(datagram, peer[0] if type(peer[0]) is tuple else peer, is_sent=True)
        super().transmit(datagram, peer)

    def send_datagram(self, datagram: bytes, remote: DtlsAddress) -> bool:
        """See `DirectInterface.send_datagram`; messages go out as datagrams, too."""
        if remote.session.alive:
            self._tracer.sent(Message.decode(datagram, remote))
        return super().send_datagram(datagram, remote)
