"""Object security (RFC 8613) without IO: contexts, replay windows, protection, and the layer.

Names are imported from the modules.
"""
