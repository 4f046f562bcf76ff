"""From an OSCORE credential to its security context, and from a saved replay window to one in use and back (RFC 8613).

Nothing is opened or kept here: whose state a context has, and who finds it, is the affair of `security_contexts`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from securecoap.oscore.algorithms import ALGORITHMS, extract
from securecoap.oscore.context import SecurityContext, derive_keys, sender_info
from securecoap.oscore.window import ReplayWindow
from securecoap.state import SavedWindow, StateRequest, fingerprint
from securecoap.state.fingerprint import former_fingerprint

if TYPE_CHECKING:
    from securecoap.credentials.models import OscoreContext
    from securecoap.oscore.context import DerivedKeys
    from securecoap.state.protocol import ContextState

__all__ = ["adopt_window", "derive", "name_of", "request_of", "restore_window", "saved_window"]


def name_of(credential: OscoreContext) -> bytes:
    """The fingerprint under which the state of a credential's context is kept; a fifth of the work of `derive`."""
    return fingerprint(
        extract(credential.secret.reveal(), credential.salt, credential.hash_name),
        sender_info(credential.sender_id, credential.id_context, credential.algorithm),
    )


def request_of(credential: OscoreContext, name: bytes) -> StateRequest:
    """What a store is asked for; ``name`` is that of `name_of`."""
    return StateRequest(name, credential.label, credential.basedir, _former_name_of, credential)


def _former_name_of(credential: OscoreContext) -> bytes:
    keys = _keys_of(credential)
    return former_fingerprint(keys.sender_key, keys.common_iv, credential.sender_id, credential.algorithm.number)


def derive(credential: OscoreContext) -> SecurityContext:
    """The security context of a credential, without state."""
    return SecurityContext(
        _keys_of(credential),
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=ALGORITHMS[credential.algorithm.number],
        window=ReplayWindow(credential.window, void=True),
        label=credential.label,
        claims=credential.claims,
    )


def _keys_of(credential: OscoreContext) -> DerivedKeys:
    return derive_keys(
        credential.secret.reveal(),
        credential.salt,
        credential.sender_id,
        credential.recipient_id,
        id_context=credential.id_context,
        algorithm=ALGORITHMS[credential.algorithm.number],
        hash_name=credential.hash_name,
    )


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
