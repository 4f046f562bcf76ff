"""Other credentials for a server under load."""
