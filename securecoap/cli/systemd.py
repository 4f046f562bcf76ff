"""What a service manager and its service tell each other: systemd's sd_notify, watchdog and socket activation.

By environment variables and datagrams, as systemd's interface promises them (sd_notify(3), sd_listen_fds(3)); nothing
of systemd has to be installed, and without a service manager this does nothing. Knows of CoAP the default ports only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError
from securecoap.wire.uri import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["Notifier", "take_sockets"]

_FIRST_FD: Final = 3
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class Notifier:
    """Says how the service is, if somebody wants to know.

    Args:
        environment: has the variables; ``NOTIFY_SOCKET`` is taken out, so that no child speaks for this process.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address[:1] == "@" else address
        pid, span = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        is_meant = pid in ("", str(os.getpid())) and span.isascii() and span.isdigit()
        self._watchdog = int(span) / 1_000_000 if is_meant else 0.0

    def tell(self, *lines: str) -> None:
        """Send some assignments; a service manager that does not listen is no fault of the service."""
        if self._address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str) -> None:
        """Everything is bound, or a reload is over."""
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self.tell("STOPPING=1", "STATUS=answering what is under way")

    async def feed_watchdog(self) -> None:
        """Show twice in each span that the event loop turns; for ever, or not at all where nobody watches."""
        while self._address and self._watchdog:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)


def take_sockets(environment: MutableMapping[str, str] | None = None) -> dict[str, socket.socket]:
    """The sockets that the service manager has bound, by the URI that each is a bind for.

    A socket's name (``FileDescriptorName=``) says its scheme, ``coap`` or ``coaps``; for any other name its port does:
    5684 is coaps. The variables are taken out of the environment.

    Raises:
        ConfigurationError: one of them is no bound UDP socket.
    """
    environment = os.environ if environment is None else environment
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return {}
    taken: dict[str, socket.socket] = {}
    for place in range(int(count)):
        try:
            sock = socket.socket(fileno=_FIRST_FD + place)
        except OSError as error:
            raise ConfigurationError(f"file descriptor {_FIRST_FD + place} is no socket: {error.strerror}") from None
        if sock.type != socket.SOCK_DGRAM or sock.family not in _FAMILIES:
            raise ConfigurationError(f"file descriptor {_FIRST_FD + place} is no UDP socket (ListenDatagram=)")
        os.set_inheritable(sock.fileno(), False)
        host, port = sock.getsockname()[:2]
        name = names[place] if place < len(names) else ""
        scheme = name if name in ("coap", "coaps") else "coaps" if port == DEFAULT_PORTS["coaps"] else "coap"
        taken[f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"] = sock
    return taken
