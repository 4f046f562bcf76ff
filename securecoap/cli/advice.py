"""What to do next about an error, in a line: a request without a response, one without success, a server without start.

Says what is likely, never what is certain. Knows no network; what the error is has been said before.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from securecoap.errors import (
    CoapError,
    ContextInUse,
    CredentialsFault,
    CredentialsMissing,
    HandshakeFailed,
    RequestTimeout,
    ResetReceived,
    SessionEnded,
    StateError,
    TransferFailed,
    UnprotectedResponse,
    Unreachable,
)
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from securecoap.wire.message import Message

__all__ = ["about_error", "about_response", "about_start"]

_ERRORS: Final[dict[type[CoapError], str]] = {
    RequestTimeout: (
        "does it listen there ('securecoap ping URI' asks), and does a firewall let its UDP port through? "
        "--timeout S waits longer, -v shows what was sent"
    ),
    ResetReceived: "something listens there that does not take such a message; is the port right?",
    HandshakeFailed: (
        "compare the credential with the server's ('securecoap credentials show FILE LABEL' on both sides); "
        "-vv shows the messages of the handshake"
    ),
    SessionEnded: "whether the request was carried out is not known; ask the server before you send it again",
    UnprotectedResponse: (
        "nobody has proved what it says; the server may have lost its keys or never had them: compare the OSCORE "
        "entries of both sides ('securecoap credentials show FILE LABEL')"
    ),
    TransferFailed: "try it again; a smaller --block-size helps where messages are lost",
    CredentialsFault: "nothing was sent; 'securecoap credentials check FILE' names every fault with its line",
    CredentialsMissing: (
        "nothing was sent; give --credentials FILE, and see which entry is meant: 'securecoap credentials list FILE'"
    ),
    ContextInUse: "nothing was sent; end the other program, or wait for it with a longer --timeout S",
    StateError: "nothing was sent; is --state DIR (or your state directory) there, yours, and not full?",
}

_STARTS: Final[dict[type[CoapError], str]] = {
    ContextInUse: (
        "is this server running already, or another program with this --state DIR or these keys? end it first; another "
        "--state DIR is no way out, since two that count for themselves would use the same nonces"
    ),
    StateError: (
        "--state DIR has to be there, yours and not full; where its state was never used, leave out --strict-state once"
    ),
}

_BINDS: Final[dict[int, str]] = {
    errno.EADDRINUSE: (
        "is this server running already, or another program on that port ('ss -lunp' says which)? --bind URI names "
        "another port"
    ),
    errno.EADDRNOTAVAIL: "--bind URI needs an address that this machine has",
    errno.EACCES: "a port below 1024 takes a permission (CAP_NET_BIND_SERVICE); --bind URI names another port",
}

_SILENT_HANDSHAKE: Final = (
    "does a server for coaps listen on that port (5684 by default), and does a firewall let it through? "
    "-vv shows the messages of the handshake"
)
_EDHOC: Final = (
    "compare the edhoc-oscore entries of both sides ('securecoap credentials show FILE LABEL'); the server's log says "
    "why as edhoc-failed"
)
_MISSING_LIBRARY: Final = "nothing was sent; the credentials are there, what is missing is a library"
_UNREACHABLE: Final = "is the address right, and is there a network to it? 'securecoap ping URI' tries again"
_REFUSED: Final = "nothing listens on that port: is the server running, and on this port (coap 5683, coaps 5684)?"
_NAME: Final = "the host has no address here: is its name right? an address goes as well, IPv6 in brackets"

_CODES: Final[dict[int, str]] = {
    Code.UNAUTHORIZED: "prove who you are: --credentials FILE with an entry for this URI",
    Code.FORBIDDEN: (
        "the server knows you and does not allow it: 'securecoap credentials explain FILE URI --as LABEL' says why"
    ),
    Code.NOT_FOUND: "'securecoap discover' lists what the server has",
    Code.METHOD_NOT_ALLOWED: "the resource does not have this method; 'securecoap discover' says what it is",
    Code.NOT_ACCEPTABLE: "ask for another format with --accept, or leave it out",
    Code.BAD_OPTION: "the server does not understand an option of the request; leave out those that it can do without",
    Code.REQUEST_ENTITY_INCOMPLETE: "blocks of the body were lost at the server; send it again",
    Code.REQUEST_ENTITY_TOO_LARGE: "the body is larger than the server takes",
    Code.UNSUPPORTED_CONTENT_FORMAT: "say what the body is with --content-format, or send another format",
    Code.PROXYING_NOT_SUPPORTED: "this server is no proxy for that URI: another --proxy, or none",
    Code.INTERNAL_SERVER_ERROR: "the cause is in the log of the server",
    Code.BAD_GATEWAY: "the proxy could not use the answer of the server; ask the server itself, without --proxy",
    Code.GATEWAY_TIMEOUT: "the proxy got no answer from the server; is the server running?",
}


def about_error(error: CoapError) -> str | None:
    """What to do about a request that has no response; ``None`` if the error says that itself."""
    if isinstance(error, Unreachable):
        return _about_network(error)
    if isinstance(error, CredentialsMissing) and isinstance(error.__cause__, ImportError):
        return _MISSING_LIBRARY
    if isinstance(error, HandshakeFailed) and error.alert is None:
        return _EDHOC if str(error).startswith("EDHOC") else _SILENT_HANDSHAKE
    for kind, text in _ERRORS.items():
        if isinstance(error, kind):
            return text
    return None


def about_start(error: Exception) -> str | None:
    """What to do about a server that does not start; ``None`` if the error says that itself."""
    if isinstance(error, Unreachable):
        return _BINDS.get(error.errno or 0)
    return next((text for kind, text in _STARTS.items() if isinstance(error, kind)), None)


def _about_network(error: Unreachable) -> str:
    if error.errno == errno.ECONNREFUSED:
        return _REFUSED
    if error.errno is None or isinstance(error.__cause__, socket.gaierror):
        return _NAME
    return _UNREACHABLE


def about_response(answer: Message) -> str | None:
    """What to do about a response that is no success; ``None`` where nobody knows."""
    code = answer.code or 0
    if code in {Code.SERVICE_UNAVAILABLE, Code.TOO_MANY_REQUESTS}:
        seconds = answer.options.max_age  # RFC 7252 section 5.9.3.4, RFC 8516
        return f"try again in {60 if seconds is None else seconds} s"
    if code == Code.REQUEST_ENTITY_TOO_LARGE and answer.options.size1 is not None:
        return f"the server takes at most {answer.options.size1} bytes"
    return _CODES.get(code)
