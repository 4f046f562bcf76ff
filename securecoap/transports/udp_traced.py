"""`UdpInterface` whose messages a tracer sees. What is shown of them is the tracer's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from securecoap.tracing import TracedDispatcher
from securecoap.transports.udp import UdpInterface
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import asyncio

    from securecoap.interfaces import MessageDispatcher
    from securecoap.tracing import Tracer
    from securecoap.transports.udp import UdpAddress

__all__ = ["TracedUdpInterface"]


class TracedUdpInterface(UdpInterface):
    """See the module; further arguments are those of `UdpInterface`."""

    def __init__(
        self,
        host: str,
        port: int,
        above: MessageDispatcher,
        loop: asyncio.AbstractEventLoop,
        *,
        tracer: Tracer,
        **arguments: Any,
    ) -> None:
        super().__init__(host, port, TracedDispatcher(above, tracer), loop, **arguments)
        self._tracer = tracer

    def send(self, message: Message) -> None:
        """See `MessageInterface.send`."""
        self._tracer.sent(message)
        super().send(message)

    def send_datagram(self, datagram: bytes, remote: UdpAddress) -> None:
        """See `DirectInterface.send_datagram`."""
        self._tracer.sent(Message.decode(datagram, remote))
        super().send_datagram(datagram, remote)
