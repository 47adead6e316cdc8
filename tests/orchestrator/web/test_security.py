"""Who may come in, and what other sites and strangers cannot do."""

from __future__ import annotations

import errno
import os
import stat

import anyio
import pytest

from matloop.orchestrator.errors import ConfigError, OutOfReach
from matloop.orchestrator.web.access import Access, hostname, is_local, names, read_token
from matloop.orchestrator.web.middleware import BODY_LIMIT, JSON_LIMIT
from tests.orchestrator.web.conftest import GUARDED, OPEN, SECRET, events, form_token

JSON = {"content-type": "application/json"}
BEARER = {"authorization": f"Bearer {SECRET}"}


ODD = [f"{name}{tail}" for name in ("localhost", "127.0.0.1:80", "[::1]") for tail in ("?", "#", "/", "?a", "#a", "\\")]
ODD += ["[::1", "localhost:x", "a@localhost", "@localhost", ":@localhost", "local host", "local%68ost"]
ODD += ["localhost:99999", "localhost:80:80", "http://localhost", "*", "-", "[localhost]", "localhost,localhost"]
NO_NAMES = [*ODD, "", " lab", "lab\n", "lab\t", "lab\0", "lab:80", "lab.example/", "ｌab", "münchen"]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", *ODD])
def test_a_rebound_name_is_refused(client, host):
    for path in ("/", "/api/study", "/static/style.css"):
        assert client.get(path, headers={"host": host}).status_code == 400
    assert client.get("/api/study", headers={"host": "127.0.0.1:8123"}).status_code == 200


def test_addresses_are_names_of_a_server_on_the_network_only(client, visit):
    assert client.get("/api/study", headers={"host": "192.0.2.7"}).status_code == 400
    guarded = visit(GUARDED)
    assert guarded.get("/api/study", headers={"host": "192.0.2.7:80", **BEARER}).status_code == 200
    assert guarded.get("/api/study", headers={"host": "bench", **BEARER}).status_code == 200
    assert guarded.get("/api/study", headers={"host": "rebound.example", **BEARER}).status_code == 400


OTHERS = ["https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"]
OTHERS += ["http://localhost?", "http://localhost#", "http://a@localhost", "ftp://localhost", "http://localhost/"]


@pytest.mark.parametrize("origin", OTHERS)
def test_other_sites_cannot_change_anything(client, lab, origin):
    before = events(lab)
    csrf = form_token(client.get("/").text)
    sent = [
        client.post("/api/recommendations", json={"n": 1}, headers={"origin": origin}),
        client.post("/recommend", data={"csrf": csrf, "n": "1"}, headers={"origin": origin}),
    ]
    assert [answer.status_code for answer in sent] == [403, 403]
    assert events(lab) == before
    mine = client.post("/recommend", data={"csrf": csrf, "n": "1"}, headers={"origin": "http://localhost"})
    assert mine.status_code == 200 and events(lab) == before + 1


def test_browsers_that_say_where_a_request_comes_from_are_believed(client):
    answer = client.post("/api/recommendations", json={"n": 1}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_link_here_but_not_load_what_takes_seconds(client, site):
    for dest in ("image", "script", "iframe", "empty"):
        for path in ("/api/outlook?q=50", "/outlook?q=50", "/"):
            assert client.get(path, headers={"sec-fetch-site": site, "sec-fetch-dest": dest}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": site, "sec-fetch-dest": "document"}).status_code == 200
    assert client.get("/api/study", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_json_must_be_declared_so_that_plain_forms_cannot_pose_as_it(client, lab):
    before = events(lab)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = client.post("/api/recommendations", content=b'{"n": 1}', headers={"content-type": kind})
        assert answer.status_code == 422
    assert events(lab) == before


def test_a_form_needs_the_token_of_its_own_session(client, visit, lab):
    before = events(lab)
    client.get("/")
    others = form_token(visit().get("/").text)
    for csrf in ("", "0" * 64, others, "ä"):
        for path, data in [
            ("/recommend", {"n": "1"}),
            ("/experiments", {"value.yield": "5"}),
            ("/experiments/0/result", {"value.yield": "5"}),
        ]:
            answer = client.post(path, data={**data, "csrf": csrf})
            assert answer.status_code == 403 and "reload" in answer.text
    assert events(lab) == before


def test_without_the_token_nothing_is_told(visit, lab):
    lab.recommend(1)
    before = events(lab)
    stranger = visit(GUARDED, follow_redirects=False)
    for path in ("/", "/history", "/experiments/0"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login") and "furnace" not in answer.text
    for path in ("/api/study", "/api/openapi.json", "/api/docs", "/api/experiments", "/api/anything"):
        answer = stranger.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert "furnace" not in answer.text
    for token in ("Bearer wrong", "Bearer", f"Basic {SECRET}", "Bearer ü", f"Bearer {SECRET}x"):
        answer = stranger.get("/api/study", headers={"authorization": token.encode("latin-1")})
        assert answer.status_code == 401
    for path in ("/recommend", "/experiments/0/result", "/api/recommendations", "/api/results"):
        assert stranger.post(path, json={"n": 1}).status_code == 401
    assert "furnace" not in stranger.get("/login").text
    assert events(lab) == before


def test_signing_in_and_out(visit, lab):
    person = visit(GUARDED)
    assert "not the token" in person.post("/login", data={"token": "guess"}).text
    answer = person.post("/login", data={"token": SECRET}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303 and all(p in cookie for p in ("HttpOnly", "SameSite=Strict", "Path=/"))
    page = person.get("/").text
    assert "furnace" in page
    person.post("/recommend", data={"csrf": form_token(page), "n": "2"})
    assert len(lab.pending()) == 2
    person.post("/logout", data={"csrf": form_token(page)})
    assert person.get("/", follow_redirects=False).status_code == 303


def test_a_cookie_reads_but_changes_nothing_through_the_rest_interface(visit, lab):
    person = visit(GUARDED)
    person.post("/login", data={"token": SECRET})
    before = events(lab)
    assert person.get("/api/study").status_code == 200
    assert person.post("/api/recommendations", json={"n": 1}).status_code == 401
    assert events(lab) == before
    assert person.post("/api/recommendations", json={"n": 1}, headers=BEARER).status_code == 201


def test_sessions_outlive_the_server_but_not_the_token():
    session = GUARDED.new_session()
    again = Access(secret=SECRET, required=True, open_to_network=True)
    assert again.valid(session) and again.form_token(session) == GUARDED.form_token(session)
    changed = Access(secret="another-horse-battery", required=True, open_to_network=True)
    assert not changed.valid(session) and changed.cookie != again.cookie
    moment, nonce, signature = session.split(".")
    for forged in ("", ".", f"{int(moment) + 1}.{nonce}.{signature}", f"{moment}.{nonce}.", f"{moment}.{nonce}.ü"):
        assert not again.valid(forged)


def test_an_old_session_ends(monkeypatch):
    session = OPEN.new_session()
    monkeypatch.setattr("matloop.orchestrator.web.access.time.time", lambda: 2e9 + 40 * 24 * 3600)
    assert not OPEN.valid(session)


def test_every_answer_carries_the_headers(client):
    for answer in (
        client.get("/"),
        client.get("/api/study"),
        client.get("/nothing"),
        client.get("/static/app.js"),
        client.get("/", headers={"host": "evil.example"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/").headers["cache-control"] == "no-store"


def test_no_page_has_a_script_or_style_of_its_own(client, lab):
    lab.recommend(2)
    for path in ("/", "/history", "/experiments/0", "/api/docs", "/login"):
        page = client.get(path).text
        assert "<style" not in page and " style=" not in page and " onclick" not in page and "javascript:" not in page
        assert page.count("<script") == page.count('<script src="/static/app.js"')


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/__init__.py%00.css",
        "/experiments/..%2f..%2fetc",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_paths_lead_nowhere_else(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422) and "import" not in answer.text and "root:" not in answer.text


def test_a_large_body_is_refused_before_it_is_parsed(client, lab):
    before = events(lab)
    big = b'{"results": "' + b"x" * BODY_LIMIT + b'"}'
    declared = client.post("/api/results", content=big, headers={"content-type": "application/json"})

    async def parts():
        yield big[:100]
        yield big[100:]

    streamed = client.post("/api/results", content=parts(), headers={"content-type": "application/json"})
    assert [declared.status_code, streamed.status_code] == [413, 413] and events(lab) == before


def test_json_has_a_limit_of_its_own(client, lab):
    before = events(lab)
    body = b'{"n": 1, "by": "' + b"x" * JSON_LIMIT + b'"}'
    assert client.post("/api/recommendations", content=body, headers=JSON).status_code == 413
    table = b"trial,yield,note\n" + b"0,soft," + b"x" * JSON_LIMIT + b"\n"
    assert client.post("/api/csv", content=table, headers={"content-type": "text/csv"}).status_code == 422
    assert events(lab) == before


def test_a_thousand_results_fit_into_one_request(client, lab):
    point = {"temperature": 512.54321, "solvent": "ethanol", "hours": 3}
    results = [
        {
            "point": point,
            "values": {"yield": 61.54321},
            "noise": {"yield": 0.87654},
            "note": "n" * 500,
            "request": f"r{i}",
        }
        for i in range(1000)
    ]
    assert client.post("/api/results", json={"by": "robot", "results": results}).status_code == 200
    assert len(lab.trials()) == 1000


@pytest.mark.parametrize(
    "table",
    [
        b"trial,yield\n" + b"9,x\n" * 9_000,
        b"trial,yield\n" + b"0," * 2_000_000,
        b"".join(b"y%x," % i for i in range(400_000)),
        b"".join(b"y%x," % i for i in range(16_000)),
        b"temperature,solvent,hours,yield\n" + b"400,water,3,5\n" * 20_000,
    ],
    ids=["rows", "cells", "titles", "columns", "lines"],
)
def test_a_file_full_of_mistakes_gets_a_short_answer(client, lab, table):
    before = events(lab)
    answer = client.post("/api/csv", content=table, headers={"content-type": "text/csv"})
    assert answer.status_code == 422 and 0 < len(answer.json()["problems"]) <= 300 and len(answer.content) < 60_000
    assert events(lab) == before
    page = client.post("/csv", data={"csrf": form_token(client.get("/").text)}, files={"file": ("t.csv", table)})
    assert page.status_code == 422 and len(page.content) < 100_000
    assert events(lab) == before


def test_an_objection_names_an_input_once(client):
    body = {"results": [{"trial": 0, "point": {"temperature": {}, "hours": [True], "solvent": "x" * 10_001}}]}
    answer = client.post("/api/results", json=body)
    assert [p["column"] for p in answer.json()["problems"]] == [
        f"point.{n}" for n in ("temperature", "hours", "solvent")
    ]


def test_a_body_that_does_not_come_is_not_waited_for(client, lab, monkeypatch):
    monkeypatch.setattr("matloop.orchestrator.web.middleware.BODY_TIMEOUT_S", 0.05)
    before = events(lab)

    async def drip():
        yield b'{"n": '
        await anyio.sleep(5)
        yield b"1}"

    answer = client.post("/api/recommendations", content=drip(), headers={"content-type": "application/json"})
    assert answer.status_code == 408 and events(lab) == before


def test_what_people_type_is_shown_as_text(client, lab):
    lab.recommend(1)
    evil = "<script>alert(1)</script>\"'><img src=x>"
    body = {"by": evil[:80], "results": [{"trial": 0, "failure": evil, "note": evil}]}
    assert client.post("/api/results", json=body).status_code == 200
    for path in ("/", "/history", "/experiments/0"):
        page = client.get(path).text
        assert "&lt;script&gt;" in page and "<script>" not in page and "<img" not in page


def test_the_token_file(tmp_path):
    path = tmp_path / "token"
    token, new = read_token(path, make=True)
    assert new and len(token) >= 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path, make=True) == (token, False)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(path, make=False)
    path.chmod(0o600)
    for content in ("short", "ä" * 20, "two words of a phrase"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="expected a token"):
            read_token(path, make=False)
    with pytest.raises(ConfigError, match="cannot use"):
        read_token(tmp_path / "none", make=False)


def test_a_disk_that_is_full_leaves_no_half_token(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "token"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutOfReach, match="No space left on device"):
            read_token(path, make=True)
    assert list(tmp_path.iterdir()) == []
    assert read_token(path, make=True)[1]
    assert [found.name for found in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_none_is_refused_at_the_start(name):
    with pytest.raises(ConfigError, match="expected --allow-host with the name of a host"):
        names([name], own=False)


def test_an_address_that_was_allowed_is_known():
    behind = Access(secret=SECRET, required=False, open_to_network=False, names=names(["192.0.2.7"], own=False))
    assert behind.knows("192.0.2.7:80") and not behind.knows("192.0.2.8")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/study?" + "a" * 9000, {}, 414),
        ("/" + "a" * 9000, {}, 414),
        ("/api/study", {f"x-{i}": "1" for i in range(200)}, 431),
        ("/api/study", {"cookie": "a=b;" * 10_000}, 431),
    ],
    ids=["query", "path", "headers", "cookie"],
)
def test_a_head_that_no_browser_sends_is_refused_before_anything_else(visit, path, headers, status):
    answer = visit(GUARDED, follow_redirects=False).get(path, headers=headers)
    assert answer.status_code == status and "expected" in answer.text and len(answer.content) < 2000


def test_what_may_be_sent_without_the_token_is_short(visit):
    stranger = visit(GUARDED, follow_redirects=False)
    assert stranger.post("/login", data={"token": "x" * 1000}).status_code == 401
    assert stranger.post("/login", data={"token": "x" * 20_000}).status_code == 413
    for path in ("/recommend", "/api/results", "/csv"):
        assert stranger.post(path, content=b"x" * 2**20).status_code == 401


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"n": ' + b"[" * 50 + b"]" * 50 + b"}", "nested too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"n": 1, "by": "Ana", "n": 2}', "the key 'n' is given twice"),
        (b'{"n": "\xff"}', "UTF-8"),
    ],
    ids=["list", "object", "closed", "digits", "twice", "bytes"],
)
def test_json_that_is_not_meant_so_gets_one_clear_answer(client, lab, body, message):
    before = events(lab)
    answer = client.post("/api/recommendations", content=body, headers=JSON)
    assert answer.status_code == 400 and message in answer.json()["error"]
    assert events(lab) == before


def test_hosts():
    assert [is_local(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.0.2.1", "lab")] == [True] * 3 + [
        False
    ] * 3
    assert hostname("Lab.Example:80") == "lab.example" and hostname("[::1]:80") == "::1"
    assert hostname("a/b") is None and hostname("a:99999999") is None
    assert "lab.example" in names(["Lab.Example."], own=False) and "localhost" in names(own=True)
