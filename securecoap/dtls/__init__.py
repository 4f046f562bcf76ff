"""DTLS 1.2 (RFC 6347) without IO: records, handshake, key schedule, sessions.

Names are imported from the modules.
"""
