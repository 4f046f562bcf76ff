"""``securecoap discover`` of a real group: a member in another process, over whatever network there is."""

from __future__ import annotations

import sys

from support.processes import Program

from tests.transports.test_udp import usable_group


def test_a_member_of_a_group_is_found(run, tmp_path):
    group = usable_group(4)
    arguments = "--demo", "--insecure", "--bind", f"coap://{group}:0", "--state", str(tmp_path)
    with Program([sys.executable, "-m", "securecoap", "serve", *arguments]) as member:
        uri = member.wait_for(r"listening (coap://\S+)")[1]
        outcome = run("discover", f"{uri}?ct=50", "--timeout", "12")
    assert outcome[:2] == (0, b'</whoami>;ct=50;title="What you have proved"\n')
    assert "2.05 Content, application/link-format" in outcome.err
    assert "coap://224" not in outcome.err  # the member has an address of its own
