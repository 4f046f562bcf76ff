"""``serve --metrics``: scraped over HTTP and read with prometheus-client's parser; health and readiness."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from securecoap.cli.metrics import Metrics
from securecoap.events import LIMIT_NAMES
from tests.cli.conftest import SAMPLES, start_demo


def fetch(uri, path="/metrics", method="GET"):
    parts = urlsplit(uri)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(uri):
    status, text = fetch(uri)
    assert status == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def site(tmp_path):
    made = start_demo(tmp_path, "--credentials", str(SAMPLES / "server.json"), "--metrics", "127.0.0.1:0")
    yield made, made.program.wait_for(r"metrics (http://[^\s]+)")[1]
    made.program.stop()


def answered(code, security, method="GET"):
    return ("securecoap_requests_total", ("code", code), ("method", method), ("security", security))


def test_what_a_scrape_shows(site, run, tmp_path):
    server, uri = site
    before = scrape(uri)
    assert before["securecoap_dtls_sessions",] == 0
    assert before["securecoap_credentials",] >= 2
    assert answered("2.05", "none") not in before
    for _ in range(3):
        assert run("get", f"{server.coap}/hello").out == b"hello"
    run("get", f"{server.coap}/time")
    device = json.loads((SAMPLES / "sensor-dtls.json").read_text())
    ours = tmp_path / "device.json"
    dtls = next(one for name, one in device.items() if name.startswith("coaps"))
    ours.write_text(json.dumps({"coaps://*": dtls}))
    assert run("get", f"{server.coaps}/hello", "--credentials", ours).out == b"hello"
    wrong = {"dtls": {**dtls["dtls"], "psk": {"hex": "00" * 16}}}
    ours.write_text(json.dumps({"coaps://*": wrong}))
    assert run("get", f"{server.coaps}/hello", "--credentials", ours).status == 3
    now = scrape(uri)
    assert now[answered("2.05", "none")] == 3
    assert now[answered("4.01", "none")] == 1
    assert now[answered("2.05", "dtls")] == 1
    assert now["securecoap_request_seconds_count", ("security", "none")] == 4
    assert now["securecoap_request_seconds_count", ("security", "dtls")] == 1
    failures = {key: value for key, value in now.items() if key[0] == "securecoap_failures_total"}
    assert failures == {("securecoap_failures_total", ("cause", "decrypt_error"), ("event", "handshake-failed")): 1}
    limits = {key[1][1] for key in now if key[0] == "securecoap_limits_reached_total"}
    assert limits == set(LIMIT_NAMES)
    assert now["securecoap_reloads_total", ("outcome", "good")] == 0
    server.program.signal(signal.SIGHUP)
    server.program.wait_for("were read again")
    assert scrape(uri)["securecoap_reloads_total", ("outcome", "good")] == 1


def test_health_and_readiness_and_what_is_no_http(site):
    _, uri = site
    assert fetch(uri, "/health") == (200, "alive\n")
    assert fetch(uri, "/ready") == (200, "ready\n")
    assert fetch(uri, "/ready?x=1")[0] == 200
    assert fetch(uri, "/nothing")[0] == 404
    assert fetch(uri, method="POST")[0] == 405
    assert fetch(uri, method="HEAD") == (200, "")
    parts = urlsplit(uri)
    for junk in (b"\x00\xff\r\n\r\n", b"GET", b"x" * 100_000):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            try:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass  # closed with bytes of ours unread
    assert fetch(uri, "/health")[0] == 200


def test_an_address_that_others_reach_is_warned_of(tmp_path):
    site = start_demo(tmp_path, "--metrics", "0.0.0.0:0", "--log-format", "json")
    try:
        site.program.wait_for('"event": "metrics-exposed"')
    finally:
        site.program.stop()


@pytest.mark.parametrize("where", ["127.0.0.1:x", "192.0.2.1:0", "127.0.0.1:99999"])
def test_where_it_cannot_be(run, where):
    outcome = run("serve", "--demo", "--bind", "coap://[::1]:0", "--metrics", where)
    assert outcome[:2] == (2, b"")
    assert "--metrics" in outcome.err


def test_without_the_extra_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "securecoap.cli.metrics", None)
    outcome = run("serve", "--demo", "--metrics", "127.0.0.1:0", "--check-config")
    assert outcome[:2] == (2, b"")
    assert "securecoap[metrics]" in outcome.err


def test_outcomes_of_reloads_are_there_before_the_first():
    metrics = Metrics()
    metrics.reloaded(has_succeeded=False)
    assert metrics.registry.get_sample_value("securecoap_reloads_total", {"outcome": "good"}) == 0
    assert metrics.registry.get_sample_value("securecoap_reloads_total", {"outcome": "failed"}) == 1
