"""Which values of a file are secrets, and whether a file that has some is open to others.

Must not know kinds or entries: what is not known to be public is a secret.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EXPOSED", "INLINE", "PUBLIC_MEMBERS", "has_secrets", "is_open_to_others", "is_published"]

PUBLIC_MEMBERS: Final = frozenset(
    (
        "client-identity", "identity-hint", "salt", "sender-id", "recipient-id", "id-context", "group-id", "public-key",
        "peer-keys", "certificate", "ca", "own-cred", "peer-cred",
    )
)  # fmt: skip
"""Members whose bytes are no secret; what is not named here is one, whatever a later version adds."""
INLINE: Final = ("hex", "ascii", "base64")
"""Forms of byte values that have the bytes in the file itself."""
EXPOSED: Final = "others may read this file, and it has keys: chmod o-rwx"

_OTHERS: Final = 0o004
_PUBLISHED: Final = frozenset(
    (
        "0449961517d1d1a61b77ed305f02dcf5b1d96c1bab5e6c743cd70c2147b9ac24",
        "48ac00e9497c8e7a6aa286673aaf175d88c750c975dc57793943d9c307ec1ca7",
        "31bd4247d7f3d15fc177ff7eb38944a2fdfa2379abda09ff2dc43837568d9476",
        "33f82a9d9e8bd9ec993fb5e5201a5bc3c806b2c743b87e39cced08d1ff945537",
        "fe495bc0a9d1489198618757eb3ff2d21caa537bc6bab7b6ca7b01397979d3c8",
        "01ed600fb672694ce335ffe8bf5be48f9f61180aa280e8d07ab4ab0d87dc699a",  # and of the files that they name
        "3573e9766f92e96322cb457f7b32f67562f5f93d9531af9ab308240639b19a6c",
        "4b276b3e064e939194605812b9adfa5c985c2ac48234cfe81370468a2738af61",
        "642aba2983b94afd9188729d8c1fde4bc55213105b73128b3e5ff1858fc1f700",
        "d228d85c332017027a90392de40539e2769a543c6d41ca88cbef6baa363e64e6",
    )
)  # fmt: skip
"""SHA-256 of the values in the samples of this project, which everybody has: nothing is lost with them."""


def is_open_to_others(mode: int) -> bool:
    """Whether other users of the machine may read a file with these permissions."""
    return bool(mode & _OTHERS)


def has_secrets(content: Any) -> bool:
    """Whether a secret stands in this JSON, or in a part of it."""
    return any(sha256(text.encode()).hexdigest() not in _PUBLISHED for text in _secrets(content))


def is_published(data: bytes) -> bool:
    """Whether a file with these bytes is one of the samples, whose keys everybody has."""
    return sha256(data).hexdigest() in _PUBLISHED


def _secrets(content: Any) -> Iterator[str]:
    """Every inline byte value that may be a secret, as it is written."""
    pending = [content]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            form = next(iter(one), None) if len(one) == 1 else None
            if form in INLINE and isinstance(one[form], str):
                yield one[form]
            else:
                pending += [inner for name, inner in one.items() if name not in PUBLIC_MEMBERS]
