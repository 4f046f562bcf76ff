"""Secure CoAP for Python: client and server over DTLS and OSCORE."""

__version__ = "0.1.0"
