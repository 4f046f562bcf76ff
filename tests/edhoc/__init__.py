"""EDHOC: the room, by the RFC's vectors, by hand, and on a simulated network."""
