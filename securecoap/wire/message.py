"""One CoAP message, and its form in a datagram (RFC 7252 section 3, extended tokens of RFC 8974).

A `Message` is what an application makes or gets, and what layers hand to each other; a layer that needs other
addressing makes a new one and never changes the application's. Encoding and decoding know no peers, no time and no
rules beyond the format. Bytes that are no message raise `FormatError` and nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.codes import CODES, code_text
from securecoap.wire.known_options import MARKER, KnownOptions
from securecoap.wire.options import Options, decode_options
from securecoap.wire.uri import compose_uri, is_ip_literal, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACK", "CON", "NON", "RST", "Message", "NoResponse", "decode_body", "encode_message"]

CON: Final = 0
NON: Final = 1
ACK: Final = 2
RST: Final = 3
_TYPE_NAMES: Final = ("CON", "NON", "ACK", "RST")

_HEADER: Final = Struct(">BBH")
_pack_header: Final = _HEADER.pack
_unpack_header: Final = _HEADER.unpack_from
_NO_OPTIONS: Final = Options().snapshot()
_no_options: Final = _NO_OPTIONS.copy  # takes half the time of `Options()`
_assembled: Final = Options.assembled

_REQUESTS: Final = KnownOptions()
# In front of the payload of a response there is often no more than a Content-Format, and always the same; entity tags
# and the numbers of notifications are not worth remembering.
_RESPONSES: Final = KnownOptions(longest=4)
_recent_requests: Final = _REQUESTS.recent.get
_recent_responses: Final = _RESPONSES.recent.get
# The delta of that option, which is another in each message and not worth remembering. Mostly it is the only one.
_OSCORE_FIRST: Final = 9
_OSCORE_LONG: Final = 0x9D  # from here on the length is not in the first byte
_OSCORE_ONLY: Final = 1 << numbers.OSCORE


class Message:
    """A request or response (or, inside the message layer, an Empty message).

    Args:
        code: a `Code` or its number. A handler may leave it out: the method decides.
        payload: the body.
        uri: absolute URI of a request. Its path and query become options, and a host name Uri-Host.
        confirmable: whether a request or notification asks for an acknowledgement; ``None`` leaves it to the library.
        options: any option by its name (``content_format="json", etag=b"…", observe=0, uri_path=("a", "b")``); content
            formats by name or number.

    Attributes:
        remote: the `EndpointAddress` that it came from or goes to.
        scheme: of the URI it was made with, or ``None``.
        unresolved_remote: ``host:port`` or ``host`` it is meant for, until `remote` is known.
        parameters: what the route's templates matched (``/store/{name}``), for a handler.
        mtype, mid, token, datagram, exchange: the business of the message and token layers.

    Raises:
        UriError: the URI cannot be used.
        TypeError: an option has no such name.
        ValueError: an option value is out of its range.
    """

    __slots__ = (
        "code", "confirmable", "datagram", "exchange", "mid", "mtype", "options", "parameters", "payload", "remote",
        "scheme", "token", "unresolved_remote",
    )  # fmt: skip

    # `remote` and `exchange` are of types that live above this room (interfaces.py).
    remote: Any
    exchange: Any
    code: int | None
    mtype: int | None
    mid: int | None
    token: bytes
    payload: bytes
    options: Options
    scheme: str | None
    unresolved_remote: str | None
    confirmable: bool | None
    parameters: Mapping[str, str]
    datagram: bytes | None

    def __init__(
        self,
        code: int | None = None,
        payload: bytes = b"",
        *,
        uri: str | None = None,
        confirmable: bool | None = None,
        **options: Any,
    ) -> None:
        self.code = code
        self.payload = bytes(payload) if type(payload) is not bytes else payload
        self.confirmable = confirmable
        self.mtype = self.mid = self.datagram = self.remote = self.exchange = self.scheme = self.unresolved_remote = (
            None
        )
        self.token = b""
        self.parameters = _NO_PARAMETERS
        self.options = _no_options()
        if uri is not None:
            self.set_uri(uri)
        if options:
            _set(self.options, options)

    @classmethod
    def to(cls, uri: str, code: int, payload: bytes = b"", *, confirmable: bool | None = True) -> Message:
        """A request without options but those of its URI, which cannot be changed any more.

        Raises:
            UriError: the URI cannot be used.
        """
        message = _new(cls)
        message.scheme, message.unresolved_remote, message.options = _destination(uri)
        message.code = CODES[code]
        message.payload = bytes(payload) if type(payload) is not bytes else payload
        message.confirmable = confirmable
        message.token = b""
        message.mtype = message.mid = message.datagram = message.exchange = message.remote = None
        message.parameters = _NO_PARAMETERS
        return message

    def set_uri(self, uri: str) -> None:
        """Take destination, path and query from an absolute URI (RFC 7252 section 6.4).

        Raises:
            UriError: the URI cannot be used.
        """
        self.scheme, self.unresolved_remote, found = _destination(uri)
        options = self.options
        if not options.pairs:
            self.options = found.copy()
            return
        for number in (numbers.URI_HOST, numbers.URI_PATH, numbers.URI_QUERY):
            options.replace(number, found.get_all(number))

    @property
    def uri(self) -> str | None:
        """The URI that a request is for, put together from options and address (RFC 7252 section 6.5).

        Raises:
            UriError: the options, which a peer may have chosen, do not make one.
        """
        options = self.options
        if options.proxy_uri is not None:
            return options.proxy_uri
        remote = self.remote
        base = f"{self.scheme}://{self.unresolved_remote}" if remote is None else remote.uri
        if remote is None and (self.scheme is None or self.unresolved_remote is None):
            return None
        parsed = parse_uri(base)
        host = parsed.host if options.uri_host is None else options.uri_host
        port = parsed.port if options.uri_port is None else options.uri_port
        scheme = parsed.scheme if options.proxy_scheme is None else options.proxy_scheme
        return compose_uri(scheme, host, port, options.uri_path, options.uri_query)

    @classmethod
    def decode(cls, data: bytes, remote: Any = None) -> Message:
        """The message in a datagram.

        Raises:
            FormatError: it is none; what to do about that is the message layer's to say (RFC 7252 section 4.2, 4.3).
        """
        size = len(data)
        if size < 4:
            raise FormatError("shorter than the header")
        first, code, mid = _unpack_header(data)
        if first >> 6 != 1:
            raise FormatError("not version 1")
        length = first & 15
        if not code and size != 4:
            raise FormatError("Empty message with more than a header")
        if length < 13:
            end = 4 + length
            token = data[4:end]
        else:
            length, position = _extended_length(data, length)
            end = position + length
            token = data[position:end]
        message = _new(cls)
        if end >= size:
            if end > size:
                raise FormatError("token runs past the end")
            message.options = _NO_OPTIONS
            message.payload = b""
        elif code < 64 and data[end] >> 4 == _OSCORE_FIRST:
            head = data[end]
            following = end + 1 + (head & 15)
            if head < _OSCORE_LONG and following + 1 < size and data[following] == 0xFF:
                pairs = ((numbers.OSCORE, data[end + 1 : following]),)
                message.options = _assembled(pairs, _OSCORE_ONLY)
                message.payload = data[following + 1 :]
            else:
                message.options, message.payload = decode_options(data, end)
        else:
            # As `KnownOptions.decode`, without its call: most messages come this way.
            encoded, marker, payload = data[end:].partition(MARKER)
            options = _recent_requests(encoded) if code < 64 else _recent_responses(encoded)
            if options is None:
                options, payload = (_REQUESTS if code < 64 else _RESPONSES).decode(data, end)
            elif marker and not payload:
                raise FormatError("payload marker without payload")
            message.options = options
            message.payload = payload
        message.code = CODES[code]
        message.mtype = first >> 4 & 3
        message.mid = mid
        message.token = token
        message.remote = remote
        message.datagram = message.exchange = message.scheme = None
        message.unresolved_remote = message.confirmable = None
        message.parameters = _NO_PARAMETERS
        return message

    @classmethod
    def inner(cls, code: int, options: Options, payload: bytes, remote: Any, token: bytes) -> Self:
        """A message as a layer makes it, of parts that are already in their final form."""
        message = _new(cls)
        message.code = CODES[code]
        message.options = options
        message.payload = payload
        message.remote = remote
        message.token = token
        message.mtype = message.mid = message.datagram = message.exchange = None
        message.scheme = message.unresolved_remote = message.confirmable = None
        message.parameters = _NO_PARAMETERS
        return message

    def encode(self) -> bytes:
        """The datagram; what the message layer has fixed stays bit-identical (section 4.2).

        Raises:
            ValueError: code, type or Message ID are not set yet, or the token is longer than 65804 bytes.
        """
        if self.datagram is not None:
            return self.datagram
        if self.code is None or self.mtype is None or self.mid is None:
            raise ValueError("a message without code, type or Message ID has no wire form")
        return encode_message(self.mtype, self.code, self.mid, self.token, self.options.encode(), self.payload)

    def copy(self, **options: Any) -> Message:
        """A new message with the same content and destination, not yet sent; its options may be changed.

        Args:
            options: options to set differently, by name.
        """
        message = Message.inner(self.code or 0, self.options.copy(), self.payload, self.remote, b"")
        message.code = self.code
        message.scheme = self.scheme
        message.unresolved_remote = self.unresolved_remote
        message.confirmable = self.confirmable
        message.parameters = dict(self.parameters)
        if options:
            _set(message.options, options)
        return message

    def __repr__(self) -> str:
        kind = "" if self.mtype is None else _TYPE_NAMES[self.mtype] + " "
        code = "no code" if self.code is None else code_text(self.code)
        return f"<Message {kind}{code} {self.options!r}, payload of {len(self.payload)} bytes, remote {self.remote!r}>"


# Bound once: to look up what a class has inherited takes as long as a call.
_new: Final = Message.__new__


def _set(options: Options, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name.startswith("_") or not hasattr(Options, name) or callable(getattr(Options, name)):
            raise TypeError(f"there is no option named {name!r}")
        setattr(options, name, value)


@lru_cache(maxsize=512)
def _destination(uri: str) -> tuple[str, str, Options]:
    """Scheme, authority and options of an absolute URI: clients ask for the same few again and again."""
    parsed = parse_uri(uri)
    options = Options()
    # Section 6.4 step 5: a literal address is the datagram's own destination and is not said again.
    options.uri_host = None if is_ip_literal(parsed.host) else parsed.host
    options.uri_path = parsed.path
    options.uri_query = parsed.query
    options.encode()
    return parsed.scheme, parsed.hostinfo, options.snapshot()


_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})


NoResponse: Final = Message.inner(0, _NO_OPTIONS, b"", None, b"")
"""What a handler returns when the client is not to be answered; a Confirmable request is still acknowledged."""


def _extended_length(data: bytes, nibble: int) -> tuple[int, int]:
    """Token length and where the token begins (RFC 8974 section 2.1)."""
    if nibble == 13 and len(data) > 4:
        return data[4] + 13, 5
    if nibble == 14 and len(data) > 5:
        return (data[4] << 8 | data[5]) + 269, 6
    raise FormatError("bad token length")


def decode_body(body: bytes, code: int) -> tuple[Options, bytes]:
    """Options and payload, as they follow a token or, under OSCORE, the inner code.

    Raises:
        FormatError: the bytes are not options, marker and payload.
    """
    return (_REQUESTS if code < 64 else _RESPONSES).decode(body, 0)


def encode_message(mtype: int, code: int, mid: int, token: bytes, options: bytes, payload: bytes) -> bytes:
    """A datagram of its parts; ``options`` in their wire form."""
    length = len(token)
    if length < 13:
        head = _pack_header(0x40 | mtype << 4 | length, code, mid)
    elif length < 269:
        head = _pack_header(0x4D | mtype << 4, code, mid) + bytes((length - 13,))
    elif length < 65805:
        head = _pack_header(0x4E | mtype << 4, code, mid) + (length - 269).to_bytes(2, "big")
    else:
        raise ValueError("a token takes 65804 bytes at most")
    if payload:
        return b"".join((head, token, options, MARKER, payload))
    return head + token + options
