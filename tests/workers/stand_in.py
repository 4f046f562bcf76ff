"""A worker that does what it is told to, for tests of its parent; it serves nothing."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any

from securecoap.workers.channel import pack, receive_first
from securecoap.workers.messages import Beat, Count, Counted, Drain, Failed, Granted, Need, Ready, Switch, Switched


def main(descriptor: int) -> None:
    """As `securecoap.cli.worker.main`."""
    sock = socket.socket(fileno=descriptor)
    boot = receive_first(sock)
    how = boot.settings["how"]

    def tell(message: Any) -> None:
        sock.sendall(pack(message))

    if how == "faulty":
        tell(Failed(("this", "and that")))
        sys.exit(2)
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "slow":
        tell(Need(b"a sign"))
        receive_first(sock)
    tell(Ready((f"coap://[::1]:{os.getpid()}",)))
    tell(Need(b"a name"))
    if how == "silent" and boot.number == 0:
        time.sleep(1_000)
    while (message := receive_first(sock)) is not None:
        tell(Beat())
        if isinstance(message, Switch):
            tell(Switched(("not me",) if how == "stubborn" and boot.number == 0 else ()))
        elif isinstance(message, Count):
            tell(Counted((("pid", "", "gauge", (("pid", (), float(os.getpid())),)),)))
        elif isinstance(message, Granted):
            tell(Need(message.fingerprint + b" again"))
        elif isinstance(message, Drain):
            if how == "stays":
                time.sleep(1_000)
            sys.exit(0)
