"""What touches sockets: UDP and DTLS (RFC 7252 sections 3 and 9).

Names are imported from the modules.
"""
