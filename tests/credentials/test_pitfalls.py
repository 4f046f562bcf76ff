"""One test for each fault of other stacks' credentials (the named rows of PITFALLS, "Credentials")."""

from __future__ import annotations

import json

import pytest

from securecoap.credentials import CredentialsMap, OwnNames
from securecoap.errors import CredentialsMissing

from .material import GET, NOW, PSK, PUT, build, oscore, psk


def test_a_reference_from_a_file_is_resolved_for_oscore_and_never_plain(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"coap://h/*": ":label", ":label": oscore()}))
    assert CredentialsMap.load(path).select("coap", "h", None, ("x",), GET, now=NOW).oscore.label == ":label"


def test_a_reference_that_cannot_be_used_fails_closed():
    loaded = build({"coap://h/*": ":label", ":label": psk()})
    with pytest.raises(CredentialsMissing):
        loaded.select("coap", "h", None, ("x",), GET, now=NOW)


def test_any_of_and_all_of_are_read_by_both_roles():
    loaded = build(
        {"coap*://h/*": {"any-of": [":d", ":o"]}, "coaps://h/b": {"all-of": [":d", ":o"]}, ":d": psk(), ":o": oscore()}
    )
    assert loaded.select("coap", "h", None, ("x",), GET, now=NOW).oscore
    both = loaded.select("coaps", "h", None, ("b",), GET, now=NOW)
    assert both.dtls
    assert both.oscore
    assert loaded.policy.decide("coaps", "h", 5684, ("b",), GET, (":d",), NOW)


def test_a_wildcard_for_a_whole_scheme_is_reached():
    assert build({"coaps://*": psk()}).select("coaps", "h", 40001, ("x", "y"), GET, now=NOW).dtls


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "key").write_bytes(bytes(16))
    (tmp_path / "there" / "c.json").write_text(
        json.dumps({":a": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"file": "key"}}}})
    )
    monkeypatch.chdir("/")
    assert CredentialsMap.load(tmp_path / "there" / "c.json").find_psk(b"a", NOW).psk.reveal() == bytes(16)


def test_a_server_looks_up_without_scanning(monkeypatch):
    loaded = build({f":d{n}": psk(f"d{n}") for n in range(50)})
    monkeypatch.setattr(type(loaded), "credentials", None)
    monkeypatch.setattr(loaded, "entries", None)
    assert loaded.find_psk(b"d49", NOW).label == ":d49"


def test_with_credentials_plain_requests_do_not_reach_every_resource():
    policy = build({":d": psk()}).policy
    assert all(policy.decide("coap", "h", 5683, ("x",), method, (), NOW) == 0x81 for method in (GET, PUT))


def test_what_a_lookup_gives_proves_nothing_by_itself():
    # The claims are on the credential, for whoever has verified the Finished; the policy sees the peer's, still empty.
    loaded = build({":d": psk(), "coap*://*/x": ":d"})
    assert loaded.find_psk(b"sensor-17", NOW).claims == (":d",)
    assert loaded.policy.decide("coaps", "h", 5684, ("x",), GET, (), NOW) == 0x81


def test_no_secret_is_part_of_a_dictionary_key():
    loaded = build({":d": psk(), ":o": oscore(), "coaps://h/*": ":d"})
    loaded.select("coaps", "h", None, (), GET, now=NOW)
    seen = set()

    def keys(value):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, dict):
            for key in value:
                yield key
                yield from keys(value[key])
        elif isinstance(value, (list, tuple, frozenset)):
            for item in value:
                yield from keys(item)
        else:
            for kind in type(value).__mro__:
                for name in getattr(kind, "__slots__", ()):
                    if isinstance(name, str) and hasattr(value, name):
                        yield from keys(getattr(value, name))

    found = repr(list(keys(loaded)))
    assert ":d" in found
    assert repr(bytes.fromhex(PSK))[2:-1] not in found


def test_a_foreign_host_is_not_our_own():
    assert not OwnNames(["192.0.2.1"]).is_own("gateway.example", "192.0.2.1")
