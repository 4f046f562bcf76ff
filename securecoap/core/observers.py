"""Observations of a client that are under way: one registration for all who observe the same (RFC 7641 section 3.1).

Requests that one registration serves join its `Observer`, and leave it one by one; the last to leave ends it. What an
observation does is the `Observer`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from securecoap.core.observer import Observer
    from securecoap.wire.message import Message

__all__ = ["Observers", "Subscription"]


class Subscription:
    """What one request has of an observation.

    Args:
        shared: the observation.
        deliver: called with each representation.
    """

    __slots__ = ("_shared", "deliver")

    def __init__(self, shared: _Shared, deliver: Callable[[Message], object]) -> None:
        self._shared = shared
        self.deliver = deliver

    @property
    def heard_at(self) -> float:
        """When the server last sent something that counted."""
        return self._shared.observer.heard_at

    async def run(self) -> None:
        """Deliver, what is known already first, until the observation ends.

        Raises:
            RequestFailed: it broke off.
        """
        known = self._shared.observer.delivered
        if known is not None:
            self.deliver(known)
        await asyncio.shield(self._shared.task)

    def leave(self, *, tell_server: bool) -> None:
        """Deliver nothing any more; harmless when called again."""
        self._shared.leave(self, tell_server=tell_server)


class _Shared:
    """One observation, and who listens."""

    __slots__ = ("_subscriptions", "observer", "task")

    def __init__(self, make: Callable[[Callable[[Message], object]], Observer]) -> None:
        self._subscriptions: list[Subscription] = []
        self.observer = make(self._deliver)
        self.task = asyncio.get_running_loop().create_task(self.observer.run())
        self.task.add_done_callback(_take_error)

    def _deliver(self, message: Message) -> None:
        for subscription in list(self._subscriptions):
            subscription.deliver(message)

    def join(self, deliver: Callable[[Message], object]) -> Subscription:
        subscription = Subscription(self, deliver)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def is_over(self) -> bool:
        return self.task.done() or not self._subscriptions

    def leave(self, subscription: Subscription, *, tell_server: bool) -> None:
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        if self._subscriptions:
            return
        self.task.cancel()
        if tell_server:
            self.observer.deregister()
        else:
            self.observer.end()


class Observers:
    """Observations by what they observe; as many as there are requests that observe."""

    __slots__ = ("_shared",)

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def join(
        self,
        message: Message,
        deliver: Callable[[Message], object],
        make: Callable[[Callable[[Message], object]], Observer],
    ) -> Subscription:
        """Listen to the observation that such a registration is for; it is begun if there is none.

        Args:
            message: the registration, with its remote.
            deliver: called with each representation.
            make: makes the observer, which delivers to what it is given.
        """
        key = (message.remote, message.code, message.payload, message.options.pairs, message.confirmable)
        shared = self._shared.get(key)
        if shared is None or shared.is_over:
            for old in [one for one, entry in self._shared.items() if entry.is_over]:
                del self._shared[old]
            shared = self._shared[key] = _Shared(make)
        return shared.join(deliver)


def _take_error(task: asyncio.Task[None]) -> None:
    """Those who wait for the task see its error; there may be nobody."""
    if not task.cancelled():
        task.exception()
