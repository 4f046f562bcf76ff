"""When credentials end: what those who renew them have to know in time. Must not know clocks or logs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from securecoap.credentials.keys import end_of
from securecoap.credentials.models import DtlsX509

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.credentials.models import Credential

__all__ = ["REVOKED", "REVOKED_AT", "end_of_credential", "endings_of"]

REVOKED: Final = "2000-01-01T00:00:00Z"
"""The ``not-after`` of what a revoked credential leaves: nobody waits for it to be renewed."""
REVOKED_AT: Final = datetime.fromisoformat(REVOKED).timestamp()

_NO_ENDS: Final = (float("inf"), REVOKED_AT)


def end_of_credential(credential: Credential) -> float:
    """When it ends, by its entry or by its own certificate; seconds since 1970, ``inf`` for never."""
    end = credential.validity.not_after
    if isinstance(credential, DtlsX509) and credential.certificates:
        end = min(end, end_of(credential.certificates[0]))
    return end


def endings_of(credentials: Iterable[Credential]) -> tuple[tuple[float, str], ...]:
    """The end of each label that has one, the first one first: where it has several keys, that of the last.

    An old key that ends while a new one stands beside it surprises nobody, and neither does one that was revoked.
    """
    ends: dict[str, float] = {}
    for credential in credentials:
        end = end_of_credential(credential)
        if end > ends.get(credential.label, float("-inf")):
            ends[credential.label] = end
    return tuple(sorted((end, label) for label, end in ends.items() if end not in _NO_ENDS))
