"""`GET /metrics` on the admin port: OpenMetrics, for the machine itself and for administrators."""

import urllib.error
import urllib.request

import pytest


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
