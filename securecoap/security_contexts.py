"""The OSCORE security contexts of one endpoint: who owns their state, which are in use, found by what peers send.

There is one context object for each fingerprint in a process, whichever map or transport asks: state handles carry it
as their companion (the design, section 6, State), from the first message on (`companions`). Entries with ``rederive``
have no lasting context: what is shared there is the `Rederivation` that makes one after the other (RFC 8613 appendix
B.2). The keyring imports this module only where there are credentials: with it come cryptography and SQLite.
"""

from __future__ import annotations

import asyncio
import time
from os import PathLike
from typing import TYPE_CHECKING, Final, TypeAlias

from securecoap.collection import uncollected
from securecoap.companions import accompany, activate, check_replacement, rename, window_of
from securecoap.core.deadlines import Deadlines
from securecoap.credentials.models import ALWAYS, OscoreContext
from securecoap.derivation import name_of, request_of
from securecoap.errors import ConfigurationError, CredentialsMissing, SessionEnded, StateError
from securecoap.oscore.rederivation import Rederivation
from securecoap.state import SqliteStateStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from securecoap.config import Limits
    from securecoap.credentials import CredentialsMap
    from securecoap.expiry import ExpiryWatch
    from securecoap.oscore.context import SecurityContext
    from securecoap.oscore.layer import OscoreLayer
    from securecoap.state import SavedWindow
    from securecoap.state.protocol import ContextState, StateStore

    Opened: TypeAlias = tuple[OscoreContext, ContextState]
    Closing: TypeAlias = tuple[ContextState, SavedWindow | None]

__all__ = ["SecurityContexts"]

_EXPIRY_INTERVAL: Final = 3600.0
"""Seconds between two looks at a credential that ends some day: clocks may be set."""


class SecurityContexts:
    """See the module.

    Args:
        credentials: the map in use.
        layers: are told when a context ends; the list may grow.
        state: the state directory, ``None`` for the user's, or what has the state already.
        strict: whether a store that does not exist yet is an error.
        is_server: peers are let in by the claims of these credentials.
        limits: handed on.
        expiry: is told of the use of credentials that are not valid.
        wait: seconds to wait for another process that owns a context.
    """

    def __init__(
        self,
        credentials: CredentialsMap,
        layers: list[OscoreLayer],
        *,
        state: StateStore | str | os.PathLike[str] | None,
        strict: bool,
        is_server: bool,
        limits: Limits,
        expiry: ExpiryWatch,
        wait: float,
    ) -> None:
        self._credentials = credentials
        self._layers = layers
        self._state = state
        self._strict = strict
        self._is_server = is_server
        self._limits = limits
        self._expiry = expiry
        self._wait = wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: StateStore | None = None
        # The contexts in use, and what makes those of some of them, by the credential's key.
        self._contexts: dict[bytes, SecurityContext] = {}
        self._derivations: dict[bytes, tuple[Rederivation, Callable[[SecurityContext | None], None]]] = {}
        self.found: dict[tuple[bytes, bytes | None], list[SecurityContext]] = {}  # see `ContextSource`
        self._handles: dict[bytes, ContextState] = {}
        self._opening: dict[bytes, asyncio.Task[None]] = {}
        self._expiries: Deadlines[OscoreContext] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on which everything runs."""
        self._loop = loop
        self._expiries = Deadlines(loop, self._expire)

    # What a layer asks.

    def find(self, kid: bytes, kid_context: bytes | None) -> Sequence[SecurityContext]:
        """See `securecoap.oscore.layer.ContextSource.find`."""
        known = self.found.get((kid, kid_context))
        if known is not None:
            return known
        found = self._credentials.find_oscore(kid, kid_context, time.time())
        if kid_context is not None and self._derivations:
            # Those that are derived anew have an ID Context that no entry names.
            found += tuple(one for one in self._credentials.find_oscore(kid, None, time.time()) if one.rederive)
        contexts = [
            context
            for one in found
            if (context := self.known(one)) is not None and (kid_context is None or context.kid_context == kid_context)
        ]
        if contexts and all(one.validity == ALWAYS for one in found):
            # At most two entries for each context: what finds nothing, or only for a time, is not kept.
            self.found[kid, kid_context] = contexts
        if not contexts:
            for one in self._credentials.find_oscore(kid, kid_context, None):
                self._expiry.report_use(one)
        return contexts

    def derivations(self, kid: bytes) -> Sequence[Rederivation]:
        """See `securecoap.oscore.layer.ContextSource.derivations`."""
        if not self._derivations:
            return ()
        found = self._credentials.find_oscore(kid, None, time.time())
        return [self._derivations[one.key][0] for one in found if one.key in self._derivations]

    def known(self, credential: OscoreContext) -> SecurityContext | None:
        """The context for a credential, if it is open; derived now, if it has not been used before."""
        key = credential.key
        context = self._contexts.get(key)
        if context is None and (handle := self._handles.get(key)) is not None and self._loop is not None:
            context = activate(handle, self._loop, self._limits)
            if context is not None:
                self._contexts[key] = context
        return context

    async def for_request(self, credential: OscoreContext) -> SecurityContext:
        """The context with which a request of ours is protected; see `ContextSource.for_request`.

        Raises:
            StateError: its state cannot be had.
        """
        key = credential.key
        while (context := self.known(credential)) is None:
            if (derivation := self._derivations.get(key)) is not None:
                return derivation[0].for_request()
            task = self._opening.get(key)
            if task is None:
                task = self._opening[key] = asyncio.ensure_future(self._open(credential))
                task.add_done_callback(lambda _: self._opening.pop(key, None))
            await asyncio.shield(task)
        return context

    # State.

    async def open_all(self) -> None:
        """Own every context before the first datagram is read: from then on all windows are known or void.

        Raises:
            StateError, ContextInUse: state cannot be had.
        """
        with uncollected():
            self._adopt(await self._open_new(self._credentials))

    async def _open_new(self, credentials: CredentialsMap) -> list[Opened]:
        """Own those contexts of a map that are not owned yet, all or none."""
        found = credentials.credentials()
        wanted = [one for one in found if isinstance(one, OscoreContext) and one.key not in self._handles]
        if not wanted:
            return []
        requests = [request_of(one, name_of(one)) for one in wanted]
        handles = await self._open_store().open_many(requests, wait=self._wait)
        return list(zip(wanted, handles, strict=True))

    # Other credentials.

    async def prepare(self, credentials: CredentialsMap) -> list[Opened]:
        """Own what a map has beside the present one, if this is a server, for `use` or `abandon`.

        Raises:
            StateError, ContextInUse: state cannot be had.
            ConfigurationError: another endpoint of this process has the same context with other rules or claims.
        """
        if not self._is_server:
            return []
        opened = await self._open_new(credentials)
        own = {id(handle) for handle in self._handles.values()}
        try:
            for credential, handle in opened:
                check_replacement(credential, handle, 1 + (id(handle) in own))
            for key, handle in self._handles.items():
                if (kept := self._current(key, credentials)) is not None:
                    check_replacement(kept, handle, 1)
        except ConfigurationError:
            await self.abandon(opened)
            raise
        return opened

    async def abandon(self, opened: list[Opened]) -> None:
        """Give up what `prepare` has opened."""
        if self._store is not None:
            await self._store.close_many([(handle, None) for _, handle in opened])

    def use(self, credentials: CredentialsMap, opened: list[Opened]) -> list[Closing]:
        """Go on with other credentials, at once: what was under way under those that are gone ends.

        Returns:
            What is to be handed to `let_go`, at once.
        """
        self._credentials = credentials
        self.found.clear()
        closings = []
        now = time.time()
        for key, handle in list(self._handles.items()):
            current = self._current(key)
            if current is None:
                closings.append(self._remove(key, handle))
                continue
            rename(handle, current)
            if not current.validity.covers(now) and (context := self._contexts.get(key)) is not None:
                self._release(context, "its OSCORE credential is not valid any more")
            self._watch_validity(current)
        for credential, handle in opened:
            rename(handle, credential)  # which may be the same keys under another label
        self._adopt(opened)
        return closings

    def _remove(self, key: bytes, handle: ContextState) -> Closing:
        del self._handles[key]
        context = self._contexts.pop(key, None)
        derivation, listener = self._derivations.pop(key, (None, None))
        if context is not None:
            self._release(context, "its OSCORE credential was removed")
        if derivation is not None and listener is not None:
            derivation.listeners.remove(listener)
        window = window_of(handle)
        if handle.users == 1:  # nobody else in this process uses it
            for one in (derivation, context):
                if one is not None:
                    one.retire()
        return handle, window

    async def let_go(self, closings: list[Closing]) -> None:
        """Give up what `use` has returned; a fault of the disk is logged."""
        if self._store is not None:
            await self._store.close_many(closings)

    def _current(self, key: bytes, credentials: CredentialsMap | None = None) -> OscoreContext | None:
        found = (credentials or self._credentials).with_key(key)
        return found if isinstance(found, OscoreContext) else None

    def _release(self, context: SecurityContext, reason: str) -> None:
        for layer in self._layers:
            layer.release(context, SessionEnded(reason))

    async def _open(self, credential: OscoreContext) -> None:
        (handle,) = await self._open_store().open_many([request_of(credential, name_of(credential))], wait=self._wait)
        current = self._current(credential.key)
        if current is None:
            await handle.close()
            raise CredentialsMissing(f"{credential.label}: the credential was removed")
        self._adopt([(current, handle)])

    def _open_store(self) -> StateStore:
        if self._store is None:
            if self._state is None or isinstance(self._state, (str, PathLike)):
                self._store = SqliteStateStore(self._state, strict=self._strict)
            else:
                self._store = self._state
        return self._store

    def _adopt(self, opened: list[Opened]) -> None:
        """Put credentials and their state together."""
        if self._loop is None:
            raise StateError("the endpoint is not running")
        self.found.clear()
        for credential, handle in opened:
            companion = accompany(credential, handle, self._loop, self._limits, is_server=self._is_server)
            if isinstance(companion, Rederivation):
                self._follow(credential, companion)
            self._handles[credential.key] = handle
            if credential.validity is not ALWAYS:
                self._watch_validity(credential)

    def _follow(self, credential: OscoreContext, derivation: Rederivation) -> None:
        """Use whichever context is derived, here or by another endpoint of the process."""

        def replaced(old: SecurityContext | None) -> None:
            if derivation.current is not None:
                self._contexts[credential.key] = derivation.current
            self.found.pop((credential.recipient_id, None), None)
            if old is not None:
                self.found.pop((credential.recipient_id, old.kid_context), None)
                for layer in self._layers:
                    layer.release(old, SessionEnded("the OSCORE context was derived anew (RFC 8613 appendix B.2)"))

        derivation.listeners.append(replaced)
        self._derivations[credential.key] = derivation, replaced
        replaced(None)

    def _watch_validity(self, credential: OscoreContext) -> None:
        left = credential.validity.not_after - time.time()
        if left != float("inf") and self._expiries is not None and self._loop is not None:
            self._expiries.add(self._loop.time() + min(left, _EXPIRY_INTERVAL), credential)

    def _expire(self, credential: OscoreContext, _now: float) -> None:
        """A credential that has expired opens nothing any more, and ends what is under way (the design, section 6)."""
        if self._current(credential.key) is not credential:
            return  # there was a reload, and the one that is in force is looked after
        if time.time() < credential.validity.not_after:
            self._watch_validity(credential)
        elif (context := self._contexts.get(credential.key)) is not None:
            self._release(context, "its OSCORE credential is not valid any more")

    async def close(self) -> None:
        """Give every context up, with its replay window saved, and close the store."""
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        if self._expiries is not None:
            self._expiries.close()
        contexts, self._contexts = self._contexts, {}
        derivations, self._derivations = self._derivations, {}
        self.found.clear()
        handles, self._handles = self._handles, {}
        for derivation, listener in derivations.values():
            derivation.listeners.remove(listener)
            derivation.abandon(self._layers)
        for layer in self._layers:
            for context in contexts.values():
                layer.release(context, SessionEnded("the endpoint was closed"))
        store, self._store = self._store, None
        if store is None:
            return
        with uncollected():
            await store.close_many([(handle, window_of(handle)) for handle in handles.values()])
        for key, handle in handles.items():
            one = derivations[key][0] if key in derivations else contexts.get(key)
            if one is not None and handle.companion is None:  # nobody else in this process uses it
                one.retire()
        await store.close()
