"""What stands beside the state of an OSCORE context, for all who use it in a process: its companion.

That is the credential until the first message comes or goes, then the context that was derived from it. Of 100,000
contexts few may ever be used, and a server is not to derive those before it hears its first peer. A stranger who knows
an identifier makes one derivation happen, once: the context stays. Entries with ``rederive`` have a `Rederivation` from
the start. Must not know who looks for contexts, nor how.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeGuard

from securecoap.credentials.models import OscoreContext
from securecoap.derivation import adopt_window, derive, saved_window
from securecoap.errors import ConfigurationError
from securecoap.oscore.algorithms import ALGORITHMS
from securecoap.oscore.context import SecurityContext
from securecoap.oscore.rederivation import Rederivation
from securecoap.oscore.sender import Sender

if TYPE_CHECKING:
    import asyncio

    from securecoap.config import Limits
    from securecoap.state import SavedWindow
    from securecoap.state.protocol import ContextState

__all__ = ["accompany", "activate", "check_replacement", "rename", "window_of"]


def accompany(
    credential: OscoreContext, state: ContextState, loop: asyncio.AbstractEventLoop, limits: Limits, *, is_server: bool
) -> OscoreContext | SecurityContext | Rederivation:
    """The companion of a state that was opened for a credential: the one that another map has given it, or a new one.

    Raises:
        ConfigurationError: another endpoint of this process has the same keys with other rules or claims.
    """
    companion = state.companion
    if companion is None:
        made = state.companion = _rederivation(credential, loop, limits) if credential.rederive else credential
        return made
    if not _is_companion(companion) or isinstance(companion, Rederivation) is not credential.rederive:
        raise ConfigurationError(
            f"{credential.label}: another endpoint of this process has the same keys with other rules (rederive)"
        )
    if is_server and companion.claims != credential.claims:
        # A peer would be known here by the claims of another endpoint's file: rather no server.
        raise ConfigurationError(
            f"{credential.label}: another endpoint of this process uses the same context with other claims"
        )
    return companion


def activate(state: ContextState, loop: asyncio.AbstractEventLoop, limits: Limits) -> SecurityContext | None:
    """The context of a state, derived if nobody did so yet; ``None`` for one that has none of its own."""
    companion = state.companion
    if isinstance(companion, OscoreContext):
        context = derive(companion)
        context.sender = Sender(state, loop, limits=limits)
        adopt_window(context, state, accept_first=not companion.echo)
        state.companion = companion = context
    return companion if isinstance(companion, SecurityContext) else None


def check_replacement(credential: OscoreContext, state: ContextState, own_uses: int) -> None:
    """Whether a credential of other credentials may take over a state that is in use.

    Args:
        credential: the other one.
        state: which is open.
        own_uses: how often whoever asks has opened it.

    Raises:
        ConfigurationError: it may not.
    """
    companion = state.companion
    if not _is_companion(companion):
        return
    if isinstance(companion, Rederivation) is not credential.rederive:
        raise ConfigurationError(f"{credential.label}: 'rederive' takes effect with the next start only")
    if state.users > own_uses and companion.claims != credential.claims:
        raise ConfigurationError(
            f"{credential.label}: another endpoint of this process uses the same context with other claims"
        )


def rename(state: ContextState, credential: OscoreContext) -> None:
    """Go on under the label and the claims of another credential with the same keys."""
    companion = state.companion
    if isinstance(companion, OscoreContext):
        state.companion = credential
    elif isinstance(companion, (SecurityContext, Rederivation)):
        companion.label, companion.claims = credential.label, credential.claims
        if isinstance(companion, Rederivation) and companion.current is not None:
            companion.current.label, companion.current.claims = credential.label, credential.claims


def window_of(state: ContextState) -> SavedWindow | None:
    """What the last user of a state is to have saved when it is closed; if no message came it stays as it was."""
    companion = state.companion
    return saved_window(companion) if isinstance(companion, SecurityContext) else None


def _is_companion(companion: object) -> TypeGuard[OscoreContext | SecurityContext | Rederivation]:
    return isinstance(companion, (OscoreContext, SecurityContext, Rederivation))


def _rederivation(credential: OscoreContext, loop: asyncio.AbstractEventLoop, limits: Limits) -> Rederivation:
    return Rederivation(
        credential.secret.reveal(),
        credential.salt,
        credential.sender_id,
        credential.recipient_id,
        scheduler=loop,
        randomness=random.SystemRandom(),
        algorithm=ALGORITHMS[credential.algorithm.number],
        hash_name=credential.hash_name,
        window=credential.window,
        limits=limits,
        label=credential.label,
        claims=credential.claims,
    )
