"""Exit statuses, and which error means which (design, section 7). Knows nothing that is printed or sent."""

from __future__ import annotations

from typing import Final

from securecoap.errors import CoapError, ConfigurationError, UriError

__all__ = ["FAILURE", "INTERNAL", "NO_RESPONSE", "SUCCESS", "USAGE", "of_code", "of_error"]

SUCCESS: Final = 0
"""The response has a code 2.xx; or the server ended as it was told."""
FAILURE: Final = 1
"""The response has another code, or could not be written where it was to go."""
USAGE: Final = 2
"""Usage, credentials or state: nothing was sent, nothing was started."""
NO_RESPONSE: Final = 3
"""No response, or none that can be trusted."""
INTERNAL: Final = 70
"""A fault of this program (``EX_SOFTWARE`` of sysexits.h)."""


def of_code(code: int | None) -> int:
    """The status for a response with this code."""
    return SUCCESS if code is not None and code >> 5 == 2 else FAILURE


def of_error(error: CoapError) -> int:
    """The status for a request that ended with this error."""
    return USAGE if isinstance(error, (ConfigurationError, UriError)) else NO_RESPONSE
