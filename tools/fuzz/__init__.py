"""Hostile peers: what they may send, and what has to hold for all that."""
