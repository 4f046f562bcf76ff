"""The short way of a request: one Confirmable message to a known peer, and one message that answers it.

Nearly all requests are of this kind. Such a one has no task, no timer and no `ClientRequest`: whoever asked waits for
the one future here. Where what comes back is not all (blocks, Echo), or a second try is due, a `ClientRequest` goes on
with it (`securecoap.core.client`).
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Final

from securecoap.errors import SessionEnded, Unreachable
from securecoap.wire import numbers
from securecoap.wire.codes import BODILESS_METHODS

if TYPE_CHECKING:
    from securecoap.core.common import Common
    from securecoap.interfaces import Cancel, RequestInterface
    from securecoap.wire.message import Message

__all__ = ["NOT_PLAIN", "NOT_WHOLE", "PlainRequest", "begin_plain", "is_worth_another_try"]

NOT_PLAIN: Final = sum(1 << number for number in (numbers.BLOCK1, numbers.NO_RESPONSE, numbers.OBSERVE))
"""Options of a request that one exchange does not do justice to."""
NOT_WHOLE: Final = 1 << numbers.BLOCK2 | 1 << numbers.BLOCK1 | 1 << numbers.ECHO
"""Options of a response that may not be all there is."""
_new: Final = object.__new__
_LARGEST: Final = 1024  # bytes of a payload that goes without blocks


def is_worth_another_try(error: BaseException) -> bool:
    """Whether it has to be looked at if the request may be made again."""
    return isinstance(error, (SessionEnded, Unreachable))


class PlainRequest:
    """A `PlumbingRequest` that somebody waits for; made by `begin_plain`.

    Attributes:
        request: what is sent; not the application's, and without options of `NOT_PLAIN`.
        answer: the response, whole or not, or the failure. Cancelling it ends nothing; `end_interest` does.
        interface, begun_at: who sends it, and since when it waits; for whoever goes on with what came.
    """

    __slots__ = ("_common", "_end", "answer", "begun_at", "interface", "request")

    request: Message
    interface: RequestInterface
    answer: Future[Message]
    begun_at: float
    _common: Common
    _end: Cancel | None

    def add_response(self, message: Message, *, is_last: bool = True) -> None:  # noqa: ARG002  # it asked for one
        """It came."""
        self._end = None  # whoever gives the last one has ended by itself
        self.request.exchange = None
        self._common.patience.pop(self, None)
        if not self.answer.done():
            self.answer.set_result(message)

    def add_exception(self, error: Exception) -> None:
        """It will not come."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever awaits it sees it; nobody has to

    def delayed(self, until: float) -> None:
        """It is not sent before that time, and waits for its answer from then on."""
        self._common.patience.delay(self, until)

    def on_interest_end(self, callback: Cancel) -> None:
        """Register what the layers below have to stop."""
        self._end = callback

    def end_interest(self) -> None:
        """Nothing that comes is wanted any more, and nothing is to be sent."""
        self._common.patience.pop(self, None)
        end, self._end = self._end, None
        if end is not None:
            end()
        self.request.exchange = None  # which knows this request: a cycle for each would have to be collected

    def cancel(self) -> None:
        """End it for whoever waits, too."""
        self.end_interest()
        self.answer.cancel()


def begin_plain(message: Message, common: Common) -> PlainRequest | None:
    """Send a request, which is the caller's gift, now; ``None`` if it is not plain, or something is to be waited for.

    Then the message is as it was.
    """
    if (
        not common.sends_plain
        or message.confirmable is False
        or message.options.present & NOT_PLAIN
        or (message.payload and (len(message.payload) > _LARGEST or message.code in BODILESS_METHODS))
    ):
        return None
    interface = common.recognize(message)
    if interface is None:
        return None
    if message.remote.is_multicast or (common.echoes and message.remote in common.echoes):
        message.remote = None
        return None
    plain = _new(PlainRequest)  # for each request, and twice as fast as to call the class
    plain.request = message
    plain.interface = interface
    plain.answer = Future(loop=common.loop)
    plain.begun_at = now = common.time()
    plain._common = common  # noqa: SLF001  # it is made here only
    plain._end = None  # noqa: SLF001  # likewise
    common.patience.add(plain, now)
    try:
        interface.request(plain)
    except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
        plain.add_exception(error)
    return plain
