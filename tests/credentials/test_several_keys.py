"""Several keys of one label: an ``any-of`` with nothing but keys written in it."""

from __future__ import annotations

import pytest

from securecoap.credentials.policy import Decision

from .material import GET, NOW, build, edhoc, oscore, psk

TWO = {
    ":outer": ":x",
    ":x": {
        "any-of": [
            psk("new", claims=["reader"]),
            {**psk("old"), "claims": ["reader"], "not-after": "2999-01-01T00:00:00Z"},
        ]
    },
    "coap*://*/inner": ":x",
    "coap*://*/outer": ":outer",
    "coap*://*/other": ":other",
    ":other": psk("other"),
}


@pytest.mark.parametrize("identity", [b"new", b"old"])
def test_each_key_proves_the_label_and_what_refers_to_it(identity):
    loaded = build(TWO)
    claims = loaded.find_psk(identity, NOW).claims
    assert claims == (":outer", ":x", "reader")
    decide = loaded.policy.decide
    assert decide("coaps", "h", 5684, ("inner",), GET, claims, NOW) == Decision.ALLOWED
    assert decide("coaps", "h", 5684, ("outer",), GET, claims, NOW) == Decision.ALLOWED
    assert decide("coaps", "h", 5684, ("other",), GET, claims, NOW) == Decision.FORBIDDEN
    assert decide("coaps", "h", 5684, ("any",), GET, claims, NOW) == Decision.ALLOWED


def test_the_claims_are_those_of_a_label_with_one_key():
    assert build({**TWO, ":x": psk("new", claims=["reader"])}).find_psk(b"new", NOW).claims == (
        ":outer",
        ":x",
        "reader",
    )


def test_a_session_of_either_key_lives_on_when_the_other_comes_or_goes():
    one, two = build({":x": psk("old")}), build({":x": {"any-of": [psk("new"), psk("old")]}})
    before = one.find_psk(b"old", NOW)
    assert two.current(before).identity == b"old"
    assert build({":x": psk("new")}).current(two.find_psk(b"new", NOW)).identity == b"new"
    assert build({":x": psk("new")}).current(before) is None


def test_contexts_too():
    loaded = build({":x": {"any-of": [oscore(recipient="12"), oscore(recipient="13", secret="ff" * 16)]}})
    assert [loaded.find_oscore(bytes([kid]), None, NOW)[0].claims for kid in (0x12, 0x13)] == [(":x",)] * 2


@pytest.mark.parametrize(
    "members", [[psk("a"), ":other"], [":other"], [psk("a"), {"any-of": [psk("b")]}], [psk("a"), {"unprotected": True}]]
)
def test_other_groups_are_no_claims(members):
    loaded = build({":x": {"any-of": members}, ":other": psk("other")}, role="server")
    assert all(":x" not in one.claims for one in loaded.credentials())


def test_all_of_is_no_claim():
    loaded = build({":x": {"all-of": [psk(), oscore()]}})
    assert all(":x" not in one.claims for one in loaded.credentials())


@pytest.mark.parametrize("members", [{"peer-cred": {"unauthenticated": True}}, {"peer-cred": None}])
def test_what_anybody_may_have_proves_no_label(members):
    loaded = build({":x": {"any-of": [edhoc(**members), psk("a")]}})
    assert all(":x" not in one.claims for one in loaded.credentials())
    (first, *_) = loaded.credentials()
    assert loaded.policy.decide("coap", "h", 5683, ("any",), GET, first.claims, NOW) != Decision.ALLOWED or members == {
        "peer-cred": None
    }


def test_edhoc_with_the_peers_credential():
    loaded = build({":x": {"any-of": [edhoc()]}})
    assert [one.claims for one in loaded.credentials()] == [(":x",)]
