from __future__ import annotations

import pytest

from securecoap import errors
from securecoap.cli import status

NOTHING_WAS_SENT = {
    "ConfigurationError",
    "CredentialsFault",
    "CredentialsMissing",
    "StateError",
    "ContextInUse",
    "UriError",
}


@pytest.mark.parametrize(
    ("code", "expected"), [(0x41, 0), (0x45, 0), (0x5F, 0), (0x80, 1), (0x84, 1), (0xA0, 1), (0x65, 1), (None, 1)]
)
def test_codes(code, expected):
    assert status.of_code(code) == expected


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_status(name):
    kind = getattr(errors, name)
    error = kind(["fault"]) if kind is errors.CredentialsFault else kind("text")
    assert status.of_error(error) == (2 if name in NOTHING_WAS_SENT else 3)
