"""The messages of ``-v`` and ``-vv`` on stderr: one line for each, with the security that it has; never a key.

What comes from a peer is escaped. Knows messages and addresses, but sends nothing.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from securecoap.cli.text import printable
from securecoap.dtls.alerts import Alert
from securecoap.dtls.records import ContentType
from securecoap.errors import FormatError
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.option import decode_option
from securecoap.transports.resolver import hostinfo
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import code_text
from securecoap.wire.content_formats import content_format_text
from securecoap.wire.numbers import OPTIONS, option_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message

__all__ = ["Trace"]

_TYPES: Final = ("CON", "NON", "ACK", "RST")
_SHOWN: Final = 48
"""Bytes of a payload or an option's value that are shown."""
_BLOCKS: Final = frozenset({numbers.BLOCK1, numbers.BLOCK2})
_FORMATS: Final = frozenset({numbers.CONTENT_FORMAT, numbers.ACCEPT})
_HANDSHAKE: Final = {
    0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 3: "HelloVerifyRequest", 4: "NewSessionTicket",
    11: "Certificate", 12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone",
    15: "CertificateVerify", 16: "ClientKeyExchange", 20: "Finished",
}  # fmt: skip
_RECORD: Final = 13
"""Bytes of a record's header (RFC 6347 section 4.1)."""


class Trace:
    """A `Tracer` for a person.

    Args:
        deep: whether to show what OSCORE protects, and the messages of handshakes.
    """

    def __init__(self, *, deep: bool) -> None:
        self._deep = deep

    def sent(self, message: Message) -> None:
        """See `Tracer`."""
        _line(">", message.remote, _described(message))

    def received(self, message: Message) -> None:
        """See `Tracer`."""
        _line("<", message.remote, _described(message))

    def protecting(self, message: Message) -> None:
        """See `Tracer`."""
        if self._deep:
            _line("> inside:", message.remote, _inner(message, is_sent=True))

    def opened(self, message: Message) -> None:
        """See `Tracer`."""
        if self._deep:
            _line("< inside:", message.remote, _inner(message, is_sent=False))

    def malformed(self, datagram: bytes, remote: EndpointAddress) -> None:
        """See `Tracer`."""
        _line("<", remote, [f"{len(datagram)} bytes that are no message: {_bytes(datagram)}"])

    def failed(self, error: Exception | int, remote: EndpointAddress) -> None:
        """See `Tracer`."""
        _line("!", remote, [f"errno {error}" if isinstance(error, int) else str(error) or type(error).__name__])

    def handshake(self, datagram: bytes, peer: Any, *, is_sent: bool) -> None:
        """See `Tracer`."""
        if self._deep:
            records = ", ".join(_records(datagram)) or "nothing"
            _write(">" if is_sent else "<", f"coaps://{hostinfo(peer, 5684)}", [f"DTLS {records}"])


def _line(direction: str, remote: EndpointAddress, parts: list[str]) -> None:
    _write(direction, remote.uri, parts)


def _write(direction: str, where: str, parts: list[str]) -> None:
    time = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    text = printable(f"{time} {direction} {where} {', '.join(parts)}", lines=False)
    with suppress(OSError):  # whoever read it has gone; the message has to go on its way
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # this is the command line


def _described(message: Message) -> list[str]:
    """Type, code, Message ID, token, options, payload, and security."""
    kind = "" if message.mtype is None else f"{_TYPES[message.mtype]} "
    parts = [f"{kind}{_code(message)}", f"MID {message.mid}"]
    protected = [value for number, value in message.options.pairs if number == numbers.OSCORE]
    parts += _rest(message, "encrypted" if protected else None)
    return [*parts, *(_oscore(value) for value in protected[:1]), _transport(message.remote, bool(protected))]


def _inner(message: Message, *, is_sent: bool) -> list[str]:
    remote = message.remote
    ids = ""
    if isinstance(remote, OscoreAddress):
        ours, theirs = _id(remote.context.sender_id), _id(remote.context.recipient_id)
        ids = f" from {ours} to {theirs}" if is_sent else f" from {theirs} to {ours}"
    return [_code(message), *_rest(message, None), f"OSCORE{ids}"]


def _code(message: Message) -> str:
    """``GET``, ``2.05 Content``, ``Empty``."""
    code = message.code or 0
    dotted, _, name = code_text(code).partition(" ")
    return f"{dotted} {name}".rstrip() if code >= 32 or not name else name


def _rest(message: Message, payload_is: str | None) -> list[str]:
    parts = [f"token {message.token.hex()}"] if message.token else []
    parts += _options(message)
    if message.payload:
        shown = payload_is or _bytes(message.payload)
        parts.append(f"{len(message.payload)} bytes {shown}")
    return parts


def _options(message: Message) -> Iterator[str]:
    """Options by name; those of a path or a query in one, as in a URI."""
    joined = {numbers.URI_PATH: "/", numbers.URI_QUERY: "&", numbers.LOCATION_PATH: "/", numbers.LOCATION_QUERY: "&"}
    waiting: dict[int, list[str]] = {}
    for number, value in message.options.pairs:
        if number in joined:
            waiting.setdefault(number, []).append(value.decode(errors="backslashreplace"))
    for number, value in message.options.pairs:
        if number in waiting:
            yield f"{option_name(number)} {joined[number].join(waiting.pop(number))}"
        elif number not in joined and number != numbers.OSCORE:
            text = _value(number, value)
            yield f"{option_name(number)} {text}" if text else option_name(number)


def _value(number: int, value: bytes) -> str:
    definition = OPTIONS.get(number)
    if definition is None or definition.format == "opaque":
        return value[:_SHOWN].hex()
    if definition.format == "string":
        return value.decode(errors="backslashreplace")
    if definition.format != "uint":
        return ""
    if number in _FORMATS:
        return content_format_text(int.from_bytes(value, "big"))
    if number in _BLOCKS and len(value) <= 3:
        whole = int.from_bytes(value, "big")
        block = Block(whole >> 4, bool(whole & 8), whole & 7)
        return f"{block.number}{' and more' if block.more else ''} of {16 << block.size_exponent} bytes"
    return str(int.from_bytes(value, "big"))


def _oscore(value: bytes) -> str:
    """What the option says of the protection (RFC 8613 section 6.1)."""
    try:
        option = decode_option(value)
    except FormatError:
        return "OSCORE with an option that does not decode"
    parts = ["OSCORE"]
    if option.kid is not None:
        parts.append(f"kid {_id(option.kid)}")
    if option.kid_context is not None:
        parts.append(f"kid context {_id(option.kid_context)}")
    parts.append("nonce of the request" if option.partial_iv is None else f"partial IV {option.partial_iv.hex()}")
    return " ".join(parts)


def _id(value: bytes) -> str:
    return value.hex() or "empty"


def _transport(remote: EndpointAddress, is_protected: bool) -> str:
    """What the transport adds: the session's suite, and who it is with."""
    if isinstance(remote, OscoreAddress):
        remote = remote.outer
    if remote.security != "dtls":
        return "no DTLS" if is_protected else "unprotected"
    session = getattr(remote, "session", None)
    suite = getattr(getattr(session, "suite", None), "name", None)
    identity = getattr(session, "identity", b"")
    parts = ["DTLS", *([suite] if suite else [])]
    if identity:
        parts.append(f"identity {identity[:_SHOWN].decode(errors='backslashreplace')!r}")
    elif remote.authenticated_claims:
        parts.append(f"with {' '.join(remote.authenticated_claims)}")
    return " ".join(parts)


def _bytes(payload: bytes) -> str:
    """A text as it is, and other bytes in hexadecimal; the beginning of what is long."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload[: _SHOWN // 2].hex() + ("…" if len(payload) > _SHOWN // 2 else "")
    return f'"{text[:_SHOWN]}"{"…" if len(text) > _SHOWN else ""}'


def _records(datagram: bytes) -> Iterator[str]:
    """The records of a datagram: their kinds, and what is not sealed by its name."""
    position = 0
    while position + _RECORD <= len(datagram):
        kind, epoch = datagram[position], int.from_bytes(datagram[position + 3 : position + 5], "big")
        length = int.from_bytes(datagram[position + 11 : position + 13], "big")
        if kind == ContentType.TLS12_CID:  # how long its connection ID is, stands nowhere (RFC 9146 section 4)
            yield f"{len(datagram) - position} sealed bytes"
            return
        yield _record(kind, epoch, datagram[position + _RECORD : position + _RECORD + length])
        position += _RECORD + length


def _record(kind: int, epoch: int, body: bytes) -> str:
    if kind == ContentType.HANDSHAKE:
        return "Finished (sealed)" if epoch else _HANDSHAKE.get(body[0] if body else -1, "a handshake message")
    if kind == ContentType.CHANGE_CIPHER_SPEC:
        return "ChangeCipherSpec"
    if kind == ContentType.ALERT:
        return "an alert (sealed)" if epoch or len(body) != 2 else f"alert {_alert(body[1])}"
    return f"{len(body)} sealed bytes" if epoch else f"content type {kind}"


def _alert(number: int) -> str:
    try:
        return Alert(number).name.lower()
    except ValueError:
        return str(number)
