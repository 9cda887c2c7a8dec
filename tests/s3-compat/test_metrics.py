"""`GET /metrics` on the admin port: OpenMetrics, for the machine itself and for administrators."""

import urllib.error
import urllib.request

import pytest
import weir
from sigv4 import Signed


def scrape(server, headers=()):
    request = urllib.request.Request(f"{server.admin_endpoint}/metrics", headers=dict(headers))
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["content-type"], answer.read().decode()


def test_the_machine_itself_may_scrape(server):
    kind, page = scrape(server)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert page.endswith("# EOF\n")
    assert 'weir_build_info{version="' in page


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_who_comes_through_a_proxy_needs_a_key(server, header):
    with pytest.raises(urllib.error.HTTPError) as refused:
        scrape(server, {header: "192.0.2.1"})
    assert refused.value.code == 401
    assert b"MissingAuthentication" in refused.value.read()


def test_who_guesses_keys_here_is_slowed_down_too(tmp_path):
    """Ten may fail at once, on all ports together."""
    server = weir.Server(tmp_path / "data", flags=["--failed-auth-rate", "1"]).start()

    def status(secret):
        signed = Signed(server, "GET", "/metrics", host=f"127.0.0.1:{server.admin_port}", secret=secret)
        try:
            return scrape(server, signed.headers | {"authorization": signed.authorization, "Via": "1.1 proxy"})[1] and 200
        except urllib.error.HTTPError as refused:
            return refused.code

    assert status(weir.SECRET_KEY) == 200
    statuses = [status("wrong") for _ in range(30)]
    assert statuses[:10] == [403] * 10 and set(statuses[12:]) == {429}
    assert status(weir.SECRET_KEY) == 429, "the address waits, whatever it signs"
    assert scrape(server)[1].endswith("# EOF\n"), "the machine itself may"
    assert server.stop() == 0
