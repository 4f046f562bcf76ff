"""Measurements under load, of this server and of others in the same run."""
