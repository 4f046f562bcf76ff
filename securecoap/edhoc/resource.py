"""``/.well-known/edhoc``: EDHOC's messages over CoAP, the forward flow (RFC 9528 appendix A.2.1 and A.2.3).

It is in front of the application's resources, and open to everybody: whoever comes here has yet to say who it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from securecoap.edhoc.messages import NEW_SESSION, EdhocError, take_identifier
from securecoap.edhoc.responder import NoIdentity
from securecoap.errors import BadRequest, CredentialsMissing, MethodNotAllowed, NotFound, UnsupportedContentFormat
from securecoap.events import EDHOC_FAILED
from securecoap.oscore.agreement import AgreementRefused
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import CID_EDHOC_CBOR_SEQ, EDHOC_CBOR_SEQ
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from securecoap.edhoc.responder import Exchanges
    from securecoap.events import Events
    from securecoap.interfaces import EndpointAddress, Resource, ResourceTree

    Found: TypeAlias = tuple[Any, Mapping[str, str]]

__all__ = ["EDHOC_PATH", "EdhocResource", "EdhocTree"]

EDHOC_PATH: Final = (".well-known", "edhoc")
"""The path, in segments."""


class EdhocResource:
    """Answers message_1 and message_3; a `DirectResource`.

    Args:
        exchanges: the responder.
        make_echo: makes an Echo value for an address; whoever comes back with it is confirmed.
        events: hears of what fails.
    """

    assembles_bodies = True
    is_observable = False

    def __init__(self, exchanges: Exchanges, make_echo: Callable[[EndpointAddress], bytes], events: Events) -> None:
        self._exchanges = exchanges
        self._make_echo = make_echo
        self._events = events

    async def needs_blockwise_assembly(self, request: Message) -> bool:  # noqa: ARG002  # the contract
        """Messages come whole."""
        return True

    async def render(self, request: Message) -> Message:
        """As `dispatch`."""
        return self.dispatch(request)

    def dispatch(self, request: Message) -> Message:
        """The next message, or an error message.

        Raises:
            ErrorResponse: the request is none of EDHOC's.
        """
        remote = request.remote
        if remote.is_multicast_locally:
            return NoResponse
        if request.code != Code.POST:
            raise MethodNotAllowed
        if request.options.content_format not in (None, CID_EDHOC_CBOR_SEQ):
            raise UnsupportedContentFormat
        if remote.security == "oscore":
            raise BadRequest("EDHOC does not run inside of OSCORE")
        if self._exchanges.is_crowded and not remote.confirmed:
            # RFC 9528 section 9.7: a flood from forged addresses costs no key agreement, and fills no more of it.
            return Message(Code.UNAUTHORIZED, echo=self._make_echo(remote))
        payload = request.payload
        try:
            if payload[:1] == NEW_SESSION:
                return _answer(Code.CHANGED, self._exchanges.message_1(payload[1:], remote))
            c_r, message_3 = take_identifier(payload)
            return _answer(Code.CHANGED, self._exchanges.message_3(c_r, message_3, remote))
        except NoIdentity:
            raise NotFound("there is no credential for EDHOC") from None
        except CredentialsMissing as error:  # said at the start; a stranger fills no log with it
            raise NotFound("there is no EDHOC here") from error
        except EdhocError as error:
            self._events.report(EDHOC_FAILED, error.cause, error, lambda: remote.hostinfo)
            return _answer(Code.BAD_REQUEST, error.message)
        except AgreementRefused as error:
            self._events.report(EDHOC_FAILED, error.cause, error, lambda: remote.hostinfo)
            return _answer(Code.BAD_REQUEST, error.answer or EdhocError("there is no such exchange").message)


def _answer(code: Code, payload: bytes) -> Message:
    return Message(code, payload, content_format=EDHOC_CBOR_SEQ)


class EdhocTree:
    """The application's resources, with EDHOC's before them; a `ResourceTree`.

    Args:
        root: a tree, one resource for every path, or ``None``.
        resource: what is at ``/.well-known/edhoc``.
    """

    def __init__(self, root: ResourceTree | Resource | None, resource: EdhocResource) -> None:
        self._edhoc: Found = (resource, {})
        every_path: Found | None = None if root is None else (root, {})
        self._find: Callable[[tuple[str, ...]], Found | None] = getattr(root, "find", lambda _path: every_path)

    def find(self, path: tuple[str, ...]) -> Found | None:
        """See `ResourceTree.find`."""
        return self._edhoc if path == EDHOC_PATH else self._find(path)
