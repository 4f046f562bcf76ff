"""What an ``oscore`` entry may say: COSE algorithms with their lengths (RFC 9053 section 4), and bounds (RFC 8613).

Tables, and what looks into them: what computes with them is in ``oscore/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from securecoap.credentials.faults import Place
    from securecoap.credentials.values import Reading

__all__ = [
    "AEAD_ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "DEFAULT_HASH",
    "DEFAULT_WINDOW",
    "HASH_NAMES",
    "MAXIMUM_ID_CONTEXT",
    "MAXIMUM_WINDOW",
    "AeadParameters",
    "parse_algorithm",
    "parse_hash",
]


@dataclass(frozen=True, slots=True)
class AeadParameters:
    """One row of the COSE registry; lengths in bytes."""

    name: str
    number: int
    key_length: int
    tag_length: int
    nonce_length: int

    @property
    def maximum_id_length(self) -> int:
        """The longest Sender or Recipient ID (RFC 8613 section 3.3)."""
        return self.nonce_length - 6


_ROWS: Final = (
    AeadParameters("A128GCM", 1, 16, 16, 12),
    AeadParameters("A192GCM", 2, 24, 16, 12),
    AeadParameters("A256GCM", 3, 32, 16, 12),
    AeadParameters("AES-CCM-16-64-128", 10, 16, 8, 13),
    AeadParameters("AES-CCM-16-64-256", 11, 32, 8, 13),
    AeadParameters("AES-CCM-64-64-128", 12, 16, 8, 7),
    AeadParameters("AES-CCM-64-64-256", 13, 32, 8, 7),
    AeadParameters("ChaCha20/Poly1305", 24, 32, 16, 12),
    AeadParameters("AES-CCM-16-128-128", 30, 16, 16, 13),
    AeadParameters("AES-CCM-16-128-256", 31, 32, 16, 13),
    AeadParameters("AES-CCM-64-128-128", 32, 16, 16, 7),
    AeadParameters("AES-CCM-64-128-256", 33, 32, 16, 7),
)

AEAD_ALGORITHMS: Final[dict[str | int, AeadParameters]] = {
    **{row.name: row for row in _ROWS},
    **{row.number: row for row in _ROWS},
}
"""By COSE name and by COSE number."""

DEFAULT_ALGORITHM: Final = AEAD_ALGORITHMS[10]
DEFAULT_HASH: Final = "SHA-256"

HASH_NAMES: Final[dict[str, str]] = {
    "SHA-256": "SHA-256",
    "SHA-384": "SHA-384",
    "SHA-512": "SHA-512",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
}
"""What a file may say for ``kdf-hashfun`` (aiocoap writes the lower-case forms), and COSE's name of it."""

MAXIMUM_ID_CONTEXT: Final = 240
"""Bytes of an ID Context: with flags, a Partial IV, a length and the longest kid it has to fit an OSCORE option of 255
(RFC 8613 section 2 and 6.1)."""

DEFAULT_WINDOW: Final = 32
"""Places of a replay window (RFC 8613 section 3.2.2)."""
MAXIMUM_WINDOW: Final = 4096


def parse_algorithm(reading: Reading, value: Any, place: Place) -> Any:
    """An AEAD algorithm by COSE's name or number."""
    usable = isinstance(value, (str, int)) and not isinstance(value, bool)
    found = AEAD_ALGORITHMS.get(value) if usable else None
    if found is None:
        names = ", ".join(name for name in AEAD_ALGORITHMS if isinstance(name, str))
        reading.fault(place, f"no AEAD algorithm of COSE that is known here; known: {names}")
    return found


def parse_hash(reading: Reading, value: Any, place: Place) -> str | None:
    """COSE's name of a hash function."""
    found = HASH_NAMES.get(value) if isinstance(value, str) else None
    if found is None:
        reading.fault(place, "one of SHA-256, SHA-384, SHA-512 is expected")
    return found
