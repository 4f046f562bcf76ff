"""Every error a user of securecoap can meet, as one tree.

::

    CoapError
    ├── FormatError               bytes of a peer are not what the RFC allows (RFC 7252 section 3)
    │   └── OptionError           one option is: unknown and critical, too long, repeated (section 5.4)
    ├── UriError                  a URI that cannot be used (section 6)
    ├── ConfigurationError        misuse of the API: found before anything is sent
    │   ├── CredentialsFault      a credentials file or entry is faulty; lists every fault with its place
    │   ├── CredentialsMissing    a credential is meant for this request and cannot be used; nothing was sent
    │   └── StateError            what must survive a restart cannot be stored or read
    │       └── ContextInUse      another process owns the security context
    ├── RequestFailed             no (trusted) response to a request
    │   ├── RequestTimeout        nobody answered within the time limit
    │   ├── ResetReceived         the peer rejected the message with a Reset
    │   ├── Unreachable           name resolution or the network (ICMP) says that nobody is there
    │   ├── HandshakeFailed       DTLS: has the alert, and which side found the fault
    │   ├── SessionEnded          the DTLS session or OSCORE context of the exchange is gone
    │   ├── UnprotectedResponse   a protected request got an answer without protection
    │   └── TransferFailed        a blockwise transfer cannot be completed consistently (RFC 7959)
    └── ErrorResponse             raised by handlers, becomes a response; one class for each code

No error has key material in its text, arguments or attributes.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "BadGateway",
    "BadOption",
    "BadRequest",
    "CoapError",
    "ConfigurationError",
    "Conflict",
    "ContextInUse",
    "CredentialsFault",
    "CredentialsMissing",
    "ErrorResponse",
    "Forbidden",
    "FormatError",
    "GatewayTimeout",
    "HandshakeFailed",
    "HopLimitReached",
    "InternalServerError",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "NotImplementedByServer",
    "OptionError",
    "PreconditionFailed",
    "ProxyingNotSupported",
    "RequestEntityIncomplete",
    "RequestEntityTooLarge",
    "RequestFailed",
    "RequestTimeout",
    "ResetReceived",
    "ServiceUnavailable",
    "SessionEnded",
    "StateError",
    "TooManyRequests",
    "TransferFailed",
    "Unauthorized",
    "UnprocessableEntity",
    "UnprotectedResponse",
    "Unreachable",
    "UnsupportedContentFormat",
    "UriError",
]


class CoapError(Exception):
    """Root of all errors of this library."""


class FormatError(CoapError, ValueError):
    """Bytes that do not form a message, option or document of the kind expected."""


class OptionError(FormatError):
    """An option that its receiver may not process (RFC 7252 section 5.4).

    Attributes:
        number: the option number, or ``None`` where the whole list is at fault.
    """

    def __init__(self, text: str, number: int | None = None) -> None:
        super().__init__(text)
        self.number = number


class UriError(CoapError, ValueError):
    """A URI that does not parse, or has a part that CoAP cannot carry (RFC 7252 section 6)."""


class ConfigurationError(CoapError):
    """The library was asked for something impossible; nothing was sent."""


class CredentialsFault(ConfigurationError):
    """A credentials file or object is faulty.

    Attributes:
        faults: one text for each fault, with its line (if it came from a file) and place.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class CredentialsMissing(ConfigurationError):
    """A credential is meant for this request and none can be used; nothing was sent."""


class StateError(ConfigurationError):
    """Durable state (sequence numbers, replay windows) cannot be read or written."""


class ContextInUse(StateError):
    """Another process owns the security context, and kept it for the whole waiting time."""


class RequestFailed(CoapError):
    """There is no response to a request, or none that can be trusted."""


class RequestTimeout(RequestFailed, TimeoutError):
    """Nobody answered within the time limit (RFC 7252 section 4.2, or the caller's limit)."""


class ResetReceived(RequestFailed):
    """The peer rejected the message with a Reset (RFC 7252 section 4.2)."""


class Unreachable(RequestFailed, OSError):
    """The network or the name service says that nobody is there."""


class HandshakeFailed(RequestFailed):
    """A handshake did not complete: of DTLS, or EDHOC's exchange of keys.

    Attributes:
        alert: the name of the alert that ended it (RFC 5246 section 7.2), ``None`` for a time-out, and for EDHOC.
        cause: what a server counts it as: ``unknown-identity``, which its peer is not told, the alert, or ``timeout``.
    """

    def __init__(self, text: str, alert: str | None = None, cause: str | None = None) -> None:
        super().__init__(text)
        self.alert = alert
        self.cause = cause or alert or "timeout"


class SessionEnded(RequestFailed):
    """The secure session on which the exchange stood is gone; its answer can no longer be trusted.

    Attributes:
        unprocessed: the peer has proved that it did not carry the request out; it may be sent again, whatever it is.
    """

    unprocessed = False


class UnprotectedResponse(RequestFailed):
    """A protected request was answered without protection; the answer proves nothing (RFC 8613 section 8.4).

    Attributes:
        code: the code of the untrusted answer, or ``None``.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class TransferFailed(RequestFailed):
    """A blockwise transfer ended without its whole, consistent body (RFC 7959).

    Attributes:
        response: the error response (a `Message`) in place of which this was raised, where only a body can be returned;
            or ``None``.
    """

    def __init__(self, text: str, response: Any = None) -> None:
        super().__init__(text)
        self.response = response


class ErrorResponse(CoapError):
    """Raised in a handler, it becomes the response (RFC 7252 section 5.9.2 and 5.9.3).

    Args:
        diagnostic: text for a person, sent as diagnostic payload (section 5.5.2); empty for none.
        max_age: seconds for which a cache may repeat the answer, or ``None`` for the default.
        details: a `securecoap.ProblemDetails`, sent in place of the text (RFC 9290); it says the same code and, unless
            it has a detail of its own, the text. A client whose Accept asks for them gets them in any case.

    Attributes:
        code: the response code as one byte.

    Raises:
        ValueError, TypeError: the details cannot be written as CBOR.
    """

    code: ClassVar[int] = 0xA0

    # Details are of a room above this one.
    def __init__(self, diagnostic: str = "", *, max_age: int | None = None, details: Any = None) -> None:
        super().__init__(diagnostic)
        self.diagnostic = diagnostic
        self.max_age = max_age
        self.details = details
        if details is not None:
            details.encode()  # what cannot be sent is a fault of the handler, and shows there


class BadRequest(ErrorResponse):
    """4.00: the request itself is at fault."""

    code = 0x80


class Unauthorized(ErrorResponse):
    """4.01: the client has proved nothing yet."""

    code = 0x81


class BadOption(ErrorResponse):
    """4.02: a critical option was not understood."""

    code = 0x82


class Forbidden(ErrorResponse):
    """4.03: the client is known and may not do this."""

    code = 0x83


class NotFound(ErrorResponse):
    """4.04: no resource has this path."""

    code = 0x84


class MethodNotAllowed(ErrorResponse):
    """4.05: the resource does not have this method."""

    code = 0x85


class NotAcceptable(ErrorResponse):
    """4.06: no representation has the content format that Accept asks for."""

    code = 0x86


class RequestEntityIncomplete(ErrorResponse):
    """4.08: blocks of the request body are missing (RFC 7959 section 2.9.2)."""

    code = 0x88


class Conflict(ErrorResponse):
    """4.09: the request conflicts with the state of the resource (RFC 8132)."""

    code = 0x89


class PreconditionFailed(ErrorResponse):
    """4.12: If-Match or If-None-Match does not hold."""

    code = 0x8C


class RequestEntityTooLarge(ErrorResponse):
    """4.13: the request body is larger than the server takes.

    Args:
        size1: the largest body in bytes that would be taken (RFC 7959 section 2.9.3), or ``None``.
    """

    code = 0x8D

    def __init__(
        self, diagnostic: str = "", *, size1: int | None = None, max_age: int | None = None, details: Any = None
    ) -> None:
        super().__init__(diagnostic, max_age=max_age, details=details)
        self.size1 = size1


class UnsupportedContentFormat(ErrorResponse):
    """4.15: the content format of the request body is not supported."""

    code = 0x8F


class UnprocessableEntity(ErrorResponse):
    """4.22: the body is well-formed and cannot be applied (RFC 8132)."""

    code = 0x96


class TooManyRequests(ErrorResponse):
    """4.29: the client asks too often (RFC 8516); Max-Age says when to come back."""

    code = 0x9D


class InternalServerError(ErrorResponse):
    """5.00: the handler failed; its cause is in the server's log, never in the answer."""

    code = 0xA0


class NotImplementedByServer(ErrorResponse):
    """5.01: the server cannot do this."""

    code = 0xA1


class BadGateway(ErrorResponse):
    """5.02: the next hop's answer was invalid."""

    code = 0xA2


class ServiceUnavailable(ErrorResponse):
    """5.03: overloaded for now; Max-Age says when to come back."""

    code = 0xA3


class GatewayTimeout(ErrorResponse):
    """5.04: the next hop did not answer."""

    code = 0xA4


class ProxyingNotSupported(ErrorResponse):
    """5.05: this server is no proxy for that URI."""

    code = 0xA5


class HopLimitReached(ErrorResponse):
    """5.08: the Hop-Limit option reached zero (RFC 8768)."""

    code = 0xA8
