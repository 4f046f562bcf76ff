from __future__ import annotations

import json

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.errors import CredentialsFault


@pytest.fixture
def faults_of(tmp_path):
    """Faults of a file with this content (text or object), with the file's own name in front."""

    def faults(content, **options):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
        with pytest.raises(CredentialsFault) as caught:
            CredentialsMap.load(path, **options)
        return [fault.replace(str(path), "file.json") for fault in caught.value.faults]

    return faults
