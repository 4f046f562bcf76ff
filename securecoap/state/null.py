"""The store that keeps nothing and so allows nothing: without state no context can be used safely (fail closed)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from securecoap.errors import StateError
from securecoap.state.protocol import DEFAULT_WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securecoap.state.protocol import ContextState, SavedWindow, StateRequest

__all__ = ["NullStateStore"]


class NullStateStore:
    """See `securecoap.state.protocol.StateStore`."""

    async def open(
        self,
        fingerprint: bytes,  # noqa: ARG002 - the protocol's
        *,
        label: str,
        basedir: Path | None = None,  # noqa: ARG002 - the protocol's
        wait: float = DEFAULT_WAIT,  # noqa: ARG002 - the protocol's
    ) -> NoReturn:
        """Refuse.

        Raises:
            StateError: always.
        """
        raise StateError(f"{label}: no place for its sequence numbers is configured, so it cannot be used")

    async def open_many(
        self,
        requests: Sequence[StateRequest],
        *,
        wait: float = DEFAULT_WAIT,  # noqa: ARG002 - the protocol's
    ) -> NoReturn:
        """Refuse.

        Raises:
            StateError: always.
        """
        labels = ", ".join(request.label for request in requests)
        raise StateError(f"{labels}: no place for their sequence numbers is configured, so they cannot be used")

    async def close_many(self, closings: Sequence[tuple[ContextState, SavedWindow | None]]) -> None:
        """There is no handle to close."""

    async def close(self) -> None:
        """Nothing to let go of."""
