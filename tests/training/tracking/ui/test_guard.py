"""The guard before the pages, in process: host, origin, secret, allowed paths."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from accomplice.training.tracking.ui.guard import COOKIE, HEADERS, Guard, folder_of

TOKEN = "correct-horse-battery-staple"
FOLDER = folder_of(TOKEN)
BEARER = {"authorization": f"Bearer {TOKEN}"}
KEPT = {"cookie": f"{COOKIE}={TOKEN}"}


async def app(scope, receive, send):
    """Answer with the path that it was asked for."""
    await PlainTextResponse(Request(scope).url.path)(scope, receive, send)


def ask(path="/runs", headers=(), method="GET", token=TOKEN):
    """Return the guard's answer to a request."""

    async def asked():
        guard = Guard(app, re.compile("/|/runs"), token)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(guard), base_url="http://127.0.0.1:5000"
        ) as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asked())


class TestSecret:
    @pytest.mark.parametrize("headers", [BEARER, KEPT, {"authorization": f"bearer  {TOKEN}"}])
    def test_opens_the_pages(self, headers):
        assert ask("/runs", headers).text == "/runs"
        assert ask(f"{FOLDER}/runs", headers).text == "/runs"
        assert ask(f"{FOLDER}/", headers).text == "/"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": "Bearer"},
            {"authorization": TOKEN},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer {TOKEN[:-1]}"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"cookie": COOKIE},
            {"cookie": f"{COOKIE}=é".encode()},
            {"cookie": f"other={TOKEN}"},
            {"x-forwarded-for": "127.0.0.1"},
        ],
    )
    @pytest.mark.parametrize("path", ["/", "/runs", "/closed", f"{FOLDER}/", f"{FOLDER}/runs"])
    def test_without_it_a_line_says_where_it_is(self, headers, path):
        answer = ask(path, headers)
        assert answer.status_code == 401
        assert "open the link that it printed in its terminal" in answer.text
        assert TOKEN not in answer.text
        assert FOLDER not in answer.text
        assert "set-cookie" not in answer.headers

    def test_link_keeps_it_in_a_cookie_of_the_secret_folder_alone(self):
        answer = ask(f"/?token={TOKEN}")
        name, _, attributes = answer.headers["set-cookie"].partition(";")
        assert name == f"{COOKIE}={TOKEN}"
        assert {each.strip() for each in attributes.split(";")} == {
            "HttpOnly",
            f"Path={FOLDER}",
            "SameSite=strict",
        }
        assert f'data-folder="{FOLDER}"' in answer.text
        assert TOKEN not in answer.text
        assert answer.headers["cache-control"] == "no-store"

    def test_wrong_link_is_refused(self):
        answer = ask("/?token=wrong")
        assert answer.status_code == 401
        assert 'data-folder=""' in answer.text

    @pytest.mark.parametrize("path", [f"/runs?token={TOKEN}", f"{FOLDER}/?token={TOKEN}"])
    def test_link_is_for_the_entry_page_alone(self, path):
        assert ask(path).status_code == 401

    def test_link_changes_nothing(self):
        assert ask(f"/?token={TOKEN}", method="POST").status_code == 401

    def test_another_server_s_cookie_does_not_hide_it(self):
        crumbs = f"{COOKIE}=theirs; {COOKIE}={TOKEN}; {COOKIE}=also theirs"
        assert ask(headers={"cookie": crumbs}).status_code == 200

    def test_health_needs_none(self):
        assert ask("/health").text == "/health"
        assert ask("/health", method="POST").status_code == 401

    def test_is_not_asked_for_where_there_is_none(self):
        assert ask(token="").text == "/runs"
        assert ask("/", token="").text == "/"

    def test_folders_differ_and_do_not_tell_it(self):
        assert folder_of(TOKEN) != folder_of(f"{TOKEN}x")
        assert TOKEN not in folder_of(TOKEN)
        assert folder_of("") == ""


@pytest.mark.parametrize("token", [TOKEN, ""])
class TestSender:
    @pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:5000", "LOCALHOST"])
    def test_names_of_this_machine_are_hosts(self, token, host):
        assert ask(headers={**BEARER, "host": host}, token=token).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            *(
                "evil.example",
                "evil.example:5000",
                "127.0.0.1.evil.example",
                "evil.example#localhost",
            ),
            *("127.0.0.2", "0.0.0.0:5000", "", "[", "a@localhost", "localhost@evil.example"),
            *("localhost:", "localhost:5000:5000"),
        ],
    )
    @pytest.mark.parametrize("path", ["/runs", "/health", f"/?token={TOKEN}"])
    def test_other_hosts_are_refused(self, token, host, path):
        assert ask(path, {**BEARER, "host": host}, token=token).status_code == 403

    def test_two_hosts_are_refused(self, token):
        hosts = [("host", "127.0.0.1:5000"), ("host", "evil.example"), *BEARER.items()]
        assert ask(headers=hosts, token=token).status_code == 403

    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://127.0.0.1:5001"},
            {"origin": "http://localhost:5000"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": ""},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
        ],
    )
    def test_other_sites_pages_are_refused(self, token, headers, method):
        answer = ask(headers={**BEARER, **headers}, method=method, token=token)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_its_own_pages_are_answered(self, token, site):
        own = {"origin": "http://127.0.0.1:5000", "sec-fetch-site": site}
        assert ask(headers={**BEARER, **own}, token=token).status_code == 200

    def test_other_sites_may_link_to_the_entry_but_not_frame_it(self, token):
        link = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
        frame = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}
        assert ask(f"/?token={TOKEN}", link, token=token).status_code == 200
        assert ask(f"/?token={TOKEN}", frame, token=token).status_code == 403
        assert ask(f"/?token={TOKEN}", link, "POST", token=token).status_code in (401, 403)

    @pytest.mark.parametrize("path", ["/closed", "/runs/", "/Runs", "/runs%0a", "/a/runs"])
    def test_other_paths_are_closed(self, token, path):
        answer = ask(path, BEARER, token=token)
        assert answer.status_code == 404
        assert answer.json()["error_code"] == "ENDPOINT_NOT_FOUND"

    def test_every_answer_has_the_headers(self, token):
        for answer in (ask(headers=BEARER, token=token), ask("/closed", token=token)):
            assert {n.encode(): v.encode() for n, v in answer.headers.items()}.items() >= {*HEADERS}
