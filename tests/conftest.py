"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# No test depends on how fast the machine is, so no example has a deadline.
settings.register_profile("securecoap", deadline=None, print_blob=True)
settings.load_profile("securecoap")

# Credentials that tests write are for their owner, as they should be: otherwise each would have a warning.
os.umask(0o077)
