"""Websites of buckets over bare sockets: what can be told without reading anything, and that nothing is read for strangers."""

import pytest

import raw
import weir
from sigv4 import Signed


@pytest.fixture(scope="module")
def site_server(tmp_path_factory):
    running = weir.Server(tmp_path_factory.mktemp("site") / "data", flags=["--domain", "s3.test"]).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def s3(site_server):
    return weir.boto3_client(site_server)


def get(server, host, path, method="GET", headers=""):
    request = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"
    return raw.ask(server, request.encode(), method)


def test_everything_is_elsewhere(site_server, s3):
    s3.create_bucket(Bucket="moved")
    elsewhere = {"RedirectAllRequestsTo": {"HostName": "example.org", "Protocol": "https"}}
    s3.put_bucket_website(Bucket="moved", WebsiteConfiguration=elsewhere)
    for method in ["GET", "HEAD"]:
        answer = get(site_server, "moved.s3-website.s3.test:80", "/a%20b/c?d=e", method)
        assert (answer.status, answer.headers["location"]) == (301, "https://example.org/a%20b/c")
    # The same bucket by its other host is no website.
    assert get(site_server, "moved.s3.test", "/a").status == 403


def test_rules_redirect_and_pages_are_not_open(site_server, s3):
    s3.create_bucket(Bucket="pages")
    for key in ["index.html", "docs/index.html", "error.html"]:
        s3.put_object(Bucket="pages", Key=key, Body=b"secret", ContentType="text/html")
    rules = [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "307"}},
        {
            "Condition": {"KeyPrefixEquals": "members/", "HttpErrorCodeReturnedEquals": "403"},
            "Redirect": {"HostName": "login.example.org", "ReplaceKeyWith": "login"},
        },
    ]
    site = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}, "RoutingRules": rules}
    s3.put_bucket_website(Bucket="pages", WebsiteConfiguration=site)
    host = "pages.s3-website.s3.test"
    moved = get(site_server, host, "/old/x")
    assert (moved.status, moved.headers["location"]) == (307, f"http://{host}/new/x")
    login = get(site_server, host, "/members/me")
    assert (login.status, login.headers["location"]) == (301, "http://login.example.org/login")
    for path in ["/", "/index.html", "/docs", "/docs/", "/error.html", "/missing", "/%2e%2e/pages/index.html"]:
        answer = get(site_server, host, path)
        assert answer.status == 403 and b"secret" not in answer.body, path
        assert b"<li>Code: AccessDenied</li>" in answer.body
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-amz-request-id"]
    assert get(site_server, host, "/", "HEAD").status == 403
    assert get(site_server, host, "/", headers="range: bytes=0-1\r\nif-none-match: *\r\n").status == 403


def test_what_is_no_website_says_so(site_server, s3):
    s3.create_bucket(Bucket="plain")
    answer = get(site_server, "plain.s3-website.s3.test", "/")
    assert answer.status == 404 and b"NoSuchWebsiteConfiguration" in answer.body
    answer = get(site_server, "nobody.s3-website.s3.test", "/")
    assert answer.status == 404 and b"NoSuchBucket" in answer.body
    for method in ["PUT", "POST", "DELETE"]:
        answer = get(site_server, "plain.s3-website.s3.test", "/k", method, "content-length: 0\r\n")
        assert answer.status == 405 and b"MethodNotAllowed" in answer.body
    assert s3.list_objects_v2(Bucket="plain")["KeyCount"] == 0


def test_a_bucket_by_its_host_may_have_any_key(site_server, s3):
    """Also those that are about the server at its own name."""
    s3.create_bucket(Bucket="lively")

    def ask(method, key, body=b""):
        return raw.ask(site_server, Signed(site_server, method, f"/{key}", body=body, host="lively.s3.test").bytes(), method)

    for key in ["-/live", "-/ready", "-/info", "-/ca.pem", "-/other"]:
        assert ask("PUT", key, b"mine").status == 200
        assert ask("GET", key).body == b"mine", key
        assert get(site_server, "lively.s3.test", f"/{key}").code == "AccessDenied"
        assert b"NoSuchWebsiteConfiguration" in get(site_server, "lively.s3-website.s3.test", f"/{key}").body
        assert get(site_server, "s3.test", f"/{key}").status == (404 if key in ("-/ca.pem", "-/other") else 200)
        assert ask("DELETE", key).status == 204
    assert get(site_server, f"127.0.0.1:{site_server.port}", "/-/live").body == b"live\n"


def test_an_authority_alone_names_no_bucket(site_server, s3):
    """In HTTP/1.0 there may be no `Host`. Then nothing else says one."""
    s3.create_bucket(Bucket="hostless")
    for host in ["hostless.s3.test", "hostless.s3-website.s3.test", "127.0.0.1"]:
        for method in ["GET", "PUT", "DELETE", "POST", "OPTIONS"]:
            request = f"{method} http://{host}/k HTTP/1.0\r\norigin: http://a\r\naccess-control-request-method: PUT\r\ncontent-length: 0\r\n\r\n"
            answer = raw.ask(site_server, request.encode(), method)
            assert (answer.status, answer.code or "InvalidRequest") == (400, "InvalidRequest"), (host, method, answer)
            assert b"host" in answer.body.lower()
    # By its path it is one.
    assert raw.ask(site_server, b"GET /hostless/k HTTP/1.0\r\n\r\n").code == "AccessDenied"
    assert raw.ask(site_server, b"GET /-/live HTTP/1.0\r\n\r\n").body == b"live\n"
