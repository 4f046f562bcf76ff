"""The durable state of the security contexts of all workers, owned by their parent (the design, section 6, State).

The parent opens each context in the store, so that no other program has it; what workers need of it is in a slot of the
shared memory: the replay window, and numbers that are reserved durably already. When all workers have gone the windows
are saved; one that a process left half changed is not. Messages never come here.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from securecoap.collection import uncollected
from securecoap.credentials.models import OscoreContext
from securecoap.derivation import derive, name_of, request_of, restore_window, saved_window
from securecoap.errors import ConfigurationError, StateError
from securecoap.state import SqliteStateStore
from securecoap.workers.numbers import Slot
from securecoap.workers.window import END, GRANT, NEXT, SharedWindow, mend, slot_words

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from securecoap.credentials import CredentialsMap
    from securecoap.oscore.context import SecurityContext
    from securecoap.state import SavedWindow
    from securecoap.state.handle import Chunk, Handle
    from securecoap.workers.memory import SharedMemory

__all__ = ["Ledger"]

_ATTEMPTS: Final = 20
"""To lock a slot, before its context is believed to be lost."""

_log = logging.getLogger(__name__)


class _Account:
    """One context."""

    __slots__ = ("context", "handle", "is_rederived", "slot", "task")

    def __init__(self, handle: Handle, slot: Slot, context: SecurityContext, is_rederived: bool) -> None:
        self.is_rederived = is_rederived
        self.handle = handle
        self.slot = slot
        self.context = context
        self.task: asyncio.Task[None] | None = None


class Ledger:
    """See the module.

    Args:
        memory: shared with the workers.
        granted: told of each context that has more numbers, or why it has none.
        state: the state directory, or ``None`` for the user's.
        strict: whether a store that does not exist yet is an error.
        wait: seconds to wait for another program that owns a context.
    """

    def __init__(
        self,
        memory: SharedMemory,
        granted: Callable[[bytes, str | None], None],
        *,
        state: str | os.PathLike[str] | None,
        strict: bool,
        wait: float,
    ) -> None:
        self._memory = memory
        self._granted = granted
        self._state = None if state is None else Path(state)
        self._strict = strict
        self._wait = wait
        self._store: SqliteStateStore | None = None
        self._accounts: dict[bytes, _Account] = {}

    @property
    def slots(self) -> dict[bytes, Slot]:
        """Where each context is, by fingerprint."""
        return {name: account.slot for name, account in self._accounts.items()}

    async def open(self, credentials: CredentialsMap) -> None:
        """Own those contexts of a map that are not owned yet, all or none.

        Raises:
            StateError, ContextInUse: state cannot be had.
            ConfigurationError: a context that is owned has other rules now.
        """
        with uncollected():
            named = [(one, name_of(one)) for one in credentials.credentials() if isinstance(one, OscoreContext)]
            for one, name in named:
                known = self._accounts.get(name)
                if known is not None and known.is_rederived != one.rederive:
                    raise ConfigurationError(f"{one.label}: 'rederive' takes effect with the next start only")
            new = {name: one for one, name in named if name not in self._accounts}
            if not new:
                return
            if self._store is None:
                self._store = SqliteStateStore(self._state, strict=self._strict)
            requests = [request_of(one, name) for name, one in new.items()]
            handles = await self._store.open_many(requests, wait=self._wait)
            accounts: dict[bytes, _Account] = {}
            try:
                for (name, one), handle in zip(new.items(), handles, strict=True):
                    context = derive(one)
                    slot = Slot(self._memory.allocate(slot_words(one.window)), one.window)
                    accounts[name] = account = _Account(handle, slot, context, one.rederive)
                    context.window = SharedWindow(self._memory, *slot)
                    restore_window(context, handle.take_window(), accept_first=not one.echo)
                    self._enter(account, handle.take_chunk())
            except BaseException:
                for account in accounts.values():
                    self._memory.free(account.slot.place, slot_words(account.slot.size))
                await self._store.close_many([(handle, None) for handle in handles])
                raise
            self._accounts.update(accounts)

    async def release(self, credentials: CredentialsMap) -> None:
        """Give up the contexts that a map does not have; no worker may use them any more."""
        found = credentials.credentials()
        names = {name_of(one) for one in found if isinstance(one, OscoreContext)}
        await self._close([name for name in self._accounts if name not in names])

    def replenish(self, fingerprint: bytes) -> None:
        """Reserve more numbers for a context, soon."""
        account = self._accounts.get(fingerprint)
        if account is None:
            self._granted(fingerprint, "the security context is not used any more")
        elif account.task is None:
            account.task = asyncio.ensure_future(self._replenish(fingerprint, account))

    async def _replenish(self, fingerprint: bytes, account: _Account) -> None:
        fault = None
        try:
            chunk = account.handle.take_chunk()
            if chunk.first >= chunk.end:
                await account.handle.reserve()
                chunk = account.handle.take_chunk()
            await self._grant(account, chunk)
        except StateError as error:
            fault = str(error)
        finally:
            account.task = None
        self._granted(fingerprint, fault)

    async def _grant(self, account: _Account, chunk: Chunk) -> None:
        """Put a chunk into the slot.

        Raises:
            StateError: a worker that was stopped has its lock.
        """
        memory, place = self._memory, account.slot.place
        for _ in range(_ATTEMPTS):
            if memory.lock(place, partial(mend, memory, place)):
                self._enter(account, chunk)
                memory.unlock(place)
                return
            await asyncio.sleep(0.1)
        raise StateError(f"{account.handle.label}: a worker that was stopped has its numbers")

    def _enter(self, account: _Account, chunk: Chunk) -> None:
        words, place = self._memory.words, account.slot.place
        if chunk.first != words[place + END]:
            words[place + NEXT] = chunk.first  # what is left of the chunk before is given up: numbers only rise
        words[place + END] = chunk.end
        words[place + GRANT] = chunk.end - chunk.first

    async def close(self) -> None:
        """Save the windows, and give everything up. No worker may be left."""
        await self._close(list(self._accounts))
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _close(self, names: list[bytes]) -> None:
        if self._store is None or not names:
            return
        accounts = [self._accounts.pop(name) for name in names]
        closings: list[tuple[Handle, SavedWindow | None]] = []
        for account in accounts:
            if account.task is not None:
                account.task.cancel()
            window = account.context.window
            is_whole = isinstance(window, SharedWindow) and window.is_whole
            if not is_whole:
                _log.warning("%s: a worker ended amid a change of its replay window, which is void", account.handle)
            closings.append((account.handle, saved_window(account.context) if is_whole else None))
        await self._store.close_many(closings)
        for account in accounts:
            self._memory.free(account.slot.place, slot_words(account.slot.size))
