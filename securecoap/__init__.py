"""Secure CoAP for Python: client and server over DTLS and OSCORE, credentials in one JSON file.

The names here are the public ones, with those of `securecoap.errors`; the rest may change.
"""

from securecoap.config import Limits, TransportParameters
from securecoap.context import Context
from securecoap.credentials.map import CredentialsMap
from securecoap.errors import CoapError
from securecoap.resources import (
    NoResponse,
    ObservableResource,
    Resource,
    Site,
    check_preconditions,
    etag_for,
    require_accept,
    require_content_format,
    validated,
)
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

__version__ = "0.1.0"

__all__ = [
    "CoapError",
    "Code",
    "Context",
    "CredentialsMap",
    "Limits",
    "Message",
    "NoResponse",
    "ObservableResource",
    "Resource",
    "Site",
    "TransportParameters",
    "__version__",
    "check_preconditions",
    "etag_for",
    "require_accept",
    "require_content_format",
    "validated",
]
