"""The protocol core without IO: reliability, tokens, blockwise transfer, observation (RFC 7252, 7959, 7641).

Names are imported from the modules.
"""
