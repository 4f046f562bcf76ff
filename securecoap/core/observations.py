"""Every observation at a server: how many there may be, which share their notifications (RFC 7641 section 4).

What an observation does is in `securecoap.core.observe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.clock import clock_of
from securecoap.core.deadlines import Deadlines
from securecoap.core.notifications import SequenceNumbers, make
from securecoap.core.observe import Audience, observe
from securecoap.wire import numbers

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.config import Limits, TransportParameters
    from securecoap.core.notifications import Notification
    from securecoap.core.observe import Observation, Render
    from securecoap.interfaces import IncomingPlumbing, Resource, Scheduler
    from securecoap.wire.message import Message

__all__ = ["Observations"]

_STRANGERS_PART: Final = 0.9  # of all observations: the rest is for addresses that were shown to be real
# What does not change how a registration is answered. Most have none of these.
_NOT_IN_AUDIENCE: Final = frozenset({numbers.OSCORE, numbers.ECHO, numbers.NO_RESPONSE, numbers.REQUEST_TAG})
_THEIR_BITS: Final = sum(1 << number for number in _NOT_IN_AUDIENCE)


class Observations:
    """Counts observations, groups them, and numbers and makes their notifications.

    Bounds are ``Limits.observations``, ``observations_per_peer`` and ``observations_per_identity``; beyond them a
    registration is answered like a plain request (section 4.1). Addresses that nobody has shown to be real take nine
    tenths at most of the first.

    Args:
        limits, parameters: bounds, how often an acknowledgement is asked for, and the largest block.
        scheduler: time.
        first_number: where sequence numbers begin.
        render: renders for a `Rendering` and calls its ``respond``.
    """

    def __init__(
        self, limits: Limits, parameters: TransportParameters, scheduler: Scheduler, first_number: int, render: Render
    ) -> None:
        self.time = clock_of(scheduler)
        self.most_unheard = parameters.unacknowledged_notifications
        self._exponent = parameters.block_exponent
        self._limits = limits
        self._most_strangers = limits.observations * _STRANGERS_PART
        self._render = render
        self._numbers = SequenceNumbers(first_number, self.time)
        self._total = self._strangers = 0
        self._of: dict[Hashable, int] = {}  # by address, and by identity
        self._audiences: dict[Hashable, Audience] = {}  # those that have members
        self._waiting: Deadlines[Observation] = Deadlines(scheduler, _wake)

    def __len__(self) -> int:
        return self._total

    def register(self, incoming: IncomingPlumbing, resource: Resource) -> Observation | None:
        """An observation, counted until it ends; ``None`` if that would be one too many."""
        request = incoming.request
        remote = request.remote
        is_stranger = not remote.confirmed
        identity = remote.authenticated_claims
        limits = self._limits
        of = self._of
        from_there = of.get(remote, 0)
        if self._total >= limits.observations or (is_stranger and self._strangers >= self._most_strangers):
            limits.reached("observations")
            return None
        if from_there >= limits.observations_per_peer:
            limits.reached("observations_per_peer")
            return None
        if identity:
            of_them = of.get(identity, 0)
            if of_them >= limits.observations_per_identity:
                limits.reached("observations_per_identity")
                return None
            of[identity] = of_them + 1
        of[remote] = from_there + 1
        self._total += 1
        self._strangers += is_stranger
        audience = self._audience(resource, request)
        audience.members += 1
        return observe(incoming, audience, identity, is_stranger)

    def _audience(self, resource: Resource, request: Message) -> Audience:
        """Those who get the same notifications as this registration.

        They ask the same of the same resource and have proved the same; what they have proved does not matter where the
        resource says that it is `same_for_all`.
        """
        options = request.options
        asked = options.pairs
        if options.present & _THEIR_BITS:
            asked = tuple([pair for pair in asked if pair[0] not in _NOT_IN_AUDIENCE])
        proved = None
        if not getattr(resource, "same_for_all", False):
            remote = request.remote
            proved = (remote.authenticated_claims, remote.scheme, remote.security)
        key = (id(resource), request.code, request.payload, asked, proved)  # the audience keeps the resource
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(self, key, resource, self._render)
        return audience

    def forget(self, observation: Observation) -> None:
        """One that `register` has counted has ended."""
        identity, audience = observation.identity, observation.audience
        self._total -= 1
        self._strangers -= observation.is_stranger
        self._forget_one(observation.incoming.request.remote)
        if identity:
            self._forget_one(identity)
        audience.members -= 1
        if not audience.members:
            del self._audiences[audience.key]

    def _forget_one(self, owner: Hashable) -> None:
        left = self._of[owner] - 1
        if left:
            self._of[owner] = left
        else:
            del self._of[owner]

    def notification(self, request: Message, response: Message) -> Notification:
        """See `notifications.make`."""
        return make(request, response, self._numbers.next(), self._exponent)

    def wake(self, when: float, observation: Observation) -> None:
        """Have an observation go on at that time."""
        self._waiting.add(when, observation)

    def close(self) -> None:
        """Wake nobody any more."""
        self._waiting.close()


def _wake(observation: Observation, _now: float) -> None:
    observation.go_on()
