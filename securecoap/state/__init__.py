"""What must survive a restart: sender sequence numbers and replay windows (RFC 8613 B.1; the design, section 6).

`protocol` has the contracts; `sqlite` is the store of every deployment, `memory` and `null` are its stand-ins. Layers
that number messages are handed a store and never import this package.
"""

from securecoap.state.fingerprint import fingerprint
from securecoap.state.location import default_state_directory
from securecoap.state.memory import MemoryStateStore
from securecoap.state.null import NullStateStore
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, ContextState, SavedWindow, StateRequest, StateStore
from securecoap.state.sqlite import SqliteStateStore

__all__ = [
    "MAX_SEQUENCE_NUMBER",
    "ContextState",
    "MemoryStateStore",
    "NullStateStore",
    "SavedWindow",
    "SqliteStateStore",
    "StateRequest",
    "StateStore",
    "default_state_directory",
    "fingerprint",
]
