"""A server of several workers in processes of their own, and a device that speaks to it byte by byte.

The site keeps what it did in files: each POST is a line with the number of the process that carried it out.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

from support.processes import Program

from securecoap.oscore.context import RequestIdentifiers, SecurityContext
from securecoap.oscore.option import parse_option
from securecoap.oscore.protection import decode_inner_response, protect_request
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, NON, Message

PATIENCE = 30.0
SECRET = "816e561b1b290b51ae25368f4ac8a9a6"
SALT = "64fcb9f4fe984759"
PSK = "70d634576ed8c60fac270a44780f754a"
CREDENTIALS: dict[str, Any] = {
    ":device": {"oscore": {"secret": {"hex": SECRET}, "salt": {"hex": SALT}, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "12"}}},
    ":other": {"dtls": {"client-identity": {"ascii": "other"}, "psk": {"hex": PSK}}},
    "coap*://*/who": {"unprotected": True},
}  # fmt: skip
SITE = """
import os
from pathlib import Path
from securecoap import Code, Message, ObservableResource, Resource, Site

class Who(Resource):
    def render_get(self, request):
        return Message(payload=str(os.getpid()).encode())

class Posts(Resource):
    def render_post(self, request):
        with open("posts", "ab", 0) as file:
            file.write(request.payload + b" %d\\n" % os.getpid())
        return Message(Code.CHANGED, b"done")

class State(ObservableResource):
    def render_get(self, request):
        return Message(payload=Path("state").read_bytes())

    def render_put(self, request):
        Path("state").write_bytes(request.payload)
        self.changed()
        return Message(Code.CHANGED)

Path("state").touch()
site = Site()
site.add("/who", Who())
site.add("/posts", Posts())
site.add("/state", State())
"""


class Fleet:
    """``serve --workers``."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        workers: int = 2,
        credentials: Any = CREDENTIALS,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._environment = environment
        self.sockets: list[socket.socket] = []
        self.directory = directory
        self.credentials = directory / "server.json"
        self.write(credentials)
        (directory / "house.py").write_text(SITE)
        self._command = [
            sys.executable, "-m", "securecoap", "serve", "house:site", "--workers", str(workers),
            "--credentials", str(self.credentials), "--state", str(directory / "state-of-contexts"), *arguments,
        ]  # fmt: skip
        self.start(["--bind", "coap://127.0.0.1:0", "--bind", "coaps://127.0.0.1:0"])

    def start(self, binds: list[str]) -> None:
        self.program = Program([*self._command, *binds], directory=self.directory, environment=self._environment)
        try:
            self.coap = self.program.wait_for(r"^listening (coap://\S+)", seconds=PATIENCE)[1]
            self.coaps = self.program.wait_for(r"^listening (coaps://\S+)", seconds=PATIENCE)[1]
        except BaseException:
            self.program.stop()
            raise
        self.port = int(self.coap.rpartition(":")[2])

    def start_again(self) -> None:
        """On the same ports."""
        self.start(["--bind", self.coap, "--bind", self.coaps])

    def write(self, credentials: Any) -> None:
        """The file, replaced in one step."""
        beside = self.directory / "server.new"
        beside.write_text(credentials if isinstance(credentials, str) else json.dumps(credentials))
        beside.replace(self.credentials)

    def workers(self) -> list[int]:
        """The process ids of those that live."""
        children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()
        return [int(one) for one in children]

    def posts(self) -> list[tuple[str, int]]:
        """What was carried out, and by whom."""
        lines = (self.directory / "posts").read_text().splitlines() if (self.directory / "posts").exists() else []
        return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]

    def wait_for(self, condition: Any) -> None:
        """Wait until it is true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.program.output
            time.sleep(0.02)

    def wait_for_text(self, pattern: str, times: int = 1) -> None:
        """Wait until its output has so many matches."""
        self.wait_for(lambda: len(re.findall(pattern, self.program.output)) >= times)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()
        self.program.stop(seconds=PATIENCE)


class Port:
    """A UDP socket of a device, whose datagrams all come to one worker."""

    def __init__(self, fleet: Fleet) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        fleet.sockets.append(self.sock)
        self.sock.connect(("127.0.0.1", fleet.port))
        self.sock.setblocking(False)
        self.mid = int.from_bytes(os.urandom(2), "big")
        self.worker = int(self.ask(Code.GET, "who").payload)

    def datagram(self, message: Message, *, confirmable: bool = True) -> bytes:
        """With the next Message ID."""
        self.mid = (self.mid + 1) & 0xFFFF
        message.mid, message.mtype = self.mid, CON if confirmable else NON
        return message.encode()

    def ask(self, code: Code, path: str, payload: bytes = b"") -> Message:
        """A plain request, sent until it is answered."""
        message = Message(code, payload)
        message.options.uri_path = (path,)
        message.token = os.urandom(4)
        return self.exchange(self.datagram(message), message.token)

    def exchange(self, datagram: bytes, token: bytes) -> Message:
        """Send until there is a response with the token."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.sock.send(datagram)
            for answer in self.receive(1.0):
                if answer.token == token and answer.code:
                    return answer
        raise AssertionError("no answer")

    def receive(self, seconds: float = 0.0) -> list[Message]:
        """What has come, after a wait for the first; each Confirmable message is acknowledged."""
        select.select([self.sock], [], [], seconds)
        answers = []
        while True:
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                return answers
            except ConnectionRefusedError:
                continue
            answer = Message.decode(data)
            if answer.mtype == CON:
                self.sock.send(bytes((0x40 | ACK << 4, 0)) + data[2:4])
            answers.append(answer)


class Device:
    """One OSCORE security context, used from many ports."""

    def __init__(self, number: int = 0) -> None:
        self.context = SecurityContext.derive(bytes.fromhex(SECRET), bytes.fromhex(SALT), b"\x12", b"\x01")
        self.number = number

    def protect(
        self, code: Code, path: str, payload: bytes = b"", *, echo: bytes | None = None, observe: bool = False
    ) -> tuple[Message, RequestIdentifiers]:
        """A protected request under the next number, and what its responses need."""
        message = Message(code, payload)
        message.options.uri_path = (path,)
        if echo is not None:
            message.options.echo = echo
        if observe:
            message.options.observe = 0
        message.token = os.urandom(4)
        outer, identifiers = protect_request(self.context, message, self.number)
        self.number += 1
        outer.token = message.token
        return outer, identifiers

    def open(self, answer: Message, identifiers: RequestIdentifiers) -> Message:
        """A protected response."""
        partial_iv = number_of(answer)
        nonce = identifiers.nonce if partial_iv is None else self.context.recipient_nonce(partial_iv)
        plaintext = self.context.aead_recipient.decrypt(nonce, answer.payload, identifiers.aad)
        return decode_inner_response(plaintext, None, answer.token)

    def show_freshness(self, port: Port) -> None:
        """Answer the Echo with which a void window is ended (RFC 8613 appendix B.1.2)."""
        outer, identifiers = self.protect(Code.GET, "who")
        challenge = self.open(port.exchange(port.datagram(outer), outer.token), identifiers)
        assert challenge.code == Code.UNAUTHORIZED
        outer, identifiers = self.protect(Code.GET, "who", echo=challenge.options.echo)
        answer = self.open(port.exchange(port.datagram(outer), outer.token), identifiers)
        assert answer.code == Code.CONTENT


def number_of(answer: Message) -> int | None:
    """The Partial IV of a protected message."""
    value = answer.options.oscore
    assert value is not None
    partial_iv = parse_option(value)[0]
    return None if partial_iv is None else int.from_bytes(partial_iv, "big")


def ports_at_each(fleet: Fleet, each: int, workers: int = 2) -> dict[int, list[Port]]:
    """So many ports, by the worker to which they lead."""
    found: dict[int, list[Port]] = {}
    while len(found) < workers or min(len(there) for there in found.values()) < each:
        port = Port(fleet)
        there = found.setdefault(port.worker, [])
        if len(there) < each:
            there.append(port)
    return found
