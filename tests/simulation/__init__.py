"""A simulated network and virtual time, for the real stack."""
