"""Bytes and messages, both ways (RFC 7252 section 3): codes, options, content formats, URIs and links.

No IO, no time; names are imported from the modules.
"""
