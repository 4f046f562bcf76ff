"""From an OSCORE credential to its security context, and from a saved replay window to one in use and back (RFC 8613).

Nothing is opened or kept here: whose state a context has, and who finds it, is the affair of `security_contexts`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from securecoap.oscore.algorithms import ALGORITHMS
from securecoap.oscore.context import SecurityContext, derive_keys
from securecoap.oscore.window import ReplayWindow
from securecoap.state import SavedWindow, fingerprint

if TYPE_CHECKING:
    from securecoap.credentials.models import OscoreContext
    from securecoap.state.protocol import ContextState

__all__ = ["adopt_window", "derive", "restore_window", "saved_window"]


def derive(credential: OscoreContext) -> tuple[SecurityContext, bytes]:
    """The security context of a credential, without state, and the fingerprint under which its state is kept."""
    algorithm = ALGORITHMS[credential.algorithm.number]
    keys = derive_keys(
        credential.secret.reveal(),
        credential.salt,
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=algorithm,
        hash_name=credential.hash_name,
    )
    context = SecurityContext(
        keys,
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=algorithm,
        window=ReplayWindow(credential.window, void=True),
    )
    return context, fingerprint(keys.sender_key, keys.common_iv, credential.sender_id, algorithm.number)


def adopt_window(context: SecurityContext, state: ContextState, *, accept_first: bool) -> None:
    """Give a context the window that its process shares with others, or go on with its own; see `restore_window`."""
    if state.shared_window is None:
        restore_window(context, state.take_window(), accept_first=accept_first)
    else:
        context.window = state.shared_window


def restore_window(context: SecurityContext, saved: SavedWindow | None, *, accept_first: bool) -> None:
    """Go on with a window that was saved; without one the next request is answered with an Echo (appendix B.1.2)."""
    window = context.window
    if saved is not None:
        fitted = saved.fit(window.size)
        with suppress(ValueError):  # what cannot be a window tells nothing: then the void stays, until an Echo
            window.restore(fitted.highest, fitted.seen, proven=fitted.proven)
    elif accept_first:  # "echo": false in the entry, documented as weaker
        window.start_unproven()


def saved_window(context: SecurityContext) -> SavedWindow | None:
    """What is to be saved of a context's window; ``None`` for one that knows nothing."""
    window = context.window
    return None if window.void else SavedWindow(window.highest, window.seen, window.size, window.proven)
