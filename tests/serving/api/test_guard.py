"""Who may ask, how much at once, and how much at a time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from accomplice.data.errors import InputError
from accomplice.serving.api import bodies, guard
from accomplice.serving.api.guard import (
    BODY_VARIABLE,
    CONCURRENCY_VARIABLE,
    MEMORY_VARIABLE,
    Guard,
    Limits,
)
from accomplice.serving.api.tokens import TOKENS_VARIABLE, hashed, new_token


class App:
    """Takes a request's body and says how long it was; waits for a signal if given one."""

    def __init__(self, wait: asyncio.Event | None = None) -> None:
        self.wait, self.bodies = wait, []

    async def __call__(self, scope, receive, send) -> None:
        self.bodies.append((await receive())["body"])
        if self.wait is not None:
            await self.wait.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


class Asked:
    """One request to an app, and what came back."""

    def __init__(
        self, app, parts=(b"{}",), headers=(), path="/predict", pause=0.0, method="POST"
    ) -> None:
        self.app, self.parts, self.pause = app, list(parts), pause
        usual = {b"host": b"127.0.0.1", b"content-type": b"application/json"}
        for name, _ in headers:
            usual.pop(name.lower(), None)
        self.scope = {"type": "http", "path": path, "method": method}
        self.scope["headers"] = [*usual.items(), *headers]
        self.status, self.headers, self.body, self.read = 0, {}, b"", 0

    async def run(self) -> Asked:
        await self.app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self.pause)
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        self.read += len(part)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts)}

    async def send(self, message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]

    @property
    def code(self) -> str:
        error = json.loads(self.body)["error"]
        assert error.keys() == {"code", "message", "details"}
        return str(error["code"])


def ask(app, **given) -> Asked:
    return asyncio.run(Asked(app, **given).run())


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"Authorization".lower(), f"Bearer {token}".encode())


class TestTokens:
    def test_each_of_several_tokens_opens(self) -> None:
        app = Guard(App(), Limits(tokens=lambda: {hashed("one"): "a", hashed("two"): "b"}))
        for token in ("one", "two"):
            assert ask(app, headers=[bearer(token)]).status == 200

    @given(st.text(max_size=80))
    def test_no_other_token_opens(self, token: str) -> None:
        app = Guard(App(), Limits(tokens=lambda: {hashed("the one"): "a"}))
        found = ask(app, headers=[(b"authorization", b"Bearer " + token.encode())])
        assert (found.status, found.code) == (401, "unauthorised")
        assert found.headers[b"www-authenticate"] == b"Bearer"

    @pytest.mark.parametrize("header", [(), [(b"authorization", b"Basic dGhlIG9uZQ==")]])
    def test_nothing_is_read_of_who_sends_none(self, header) -> None:
        app = Guard(App(), Limits(tokens=lambda: {hashed("the one"): "a"}))
        found = ask(app, headers=header)
        assert (found.status, found.read) == (401, 0)

    def test_without_any_token_left_nobody_is_let_in(self) -> None:
        found = ask(Guard(App(), Limits(tokens=dict)), headers=[bearer("")])
        assert (found.status, found.read) == (401, 0)

    def test_whether_the_server_lives_anybody_may_ask(self) -> None:
        app = Guard(App(), Limits(tokens=lambda: {hashed("the one"): "a"}))
        assert ask(app, path="/readyz").status == 200
        assert ask(app, path="/metrics").status == 401


class TestOutside:
    @pytest.mark.parametrize("server", [("10.0.0.5", 3000), ("0.0.0.0", 3000), ("::2", 3000)])
    def test_other_machines_get_nothing_of_a_server_without_tokens(self, server) -> None:
        found = Asked(Guard(App(), Limits()))
        found.scope["server"] = server
        asyncio.run(found.run())
        assert (found.status, found.code, found.read) == (403, "tokens_needed", 0)

    @pytest.mark.parametrize("server", [("127.0.0.1", 3000), ("::1", 3000), ("/run/s", None), None])
    def test_this_machine_does(self, server) -> None:
        found = Asked(Guard(App(), Limits()))
        found.scope["server"] = server
        assert asyncio.run(found.run()).status == 200

    def test_other_machines_with_a_token_do(self) -> None:
        found = Asked(
            Guard(App(), Limits(tokens=lambda: {hashed("t"): "a"})), headers=[bearer("t")]
        )
        found.scope["server"] = ("10.0.0.5", 3000)
        assert asyncio.run(found.run()).status == 200


class TestBody:
    limits = Limits(body=10)

    def test_a_body_in_parts_arrives_whole(self) -> None:
        app = App()
        assert ask(Guard(app, self.limits), parts=[b"12345", b"", b"67890"]).status == 200
        assert app.bodies == [b"1234567890"]

    @given(st.lists(st.binary(max_size=6), min_size=1, max_size=6))
    def test_a_body_is_refused_by_its_size_however_it_is_parted(self, parts) -> None:
        app = App()
        found = ask(Guard(app, self.limits), parts=parts)
        if sum(map(len, parts)) > 10:
            assert (found.status, found.code, app.bodies) == (413, "too_large", [])
        else:
            assert (found.status, app.bodies) == (200, [b"".join(parts)])

    def test_a_stated_size_is_believed(self) -> None:
        found = ask(Guard(App(), self.limits), headers=[(b"content-length", b"11")])
        assert found.status == 413

    @pytest.mark.parametrize("stated", [b"-1", b"ten", b"1e9", b""])
    def test_a_size_that_is_no_number_is_refused(self, stated: bytes) -> None:
        found = ask(Guard(App(), self.limits), headers=[(b"content-length", stated)])
        assert (found.status, found.code) == (411, "length_required")

    def test_an_endless_body_is_not_read_for_ever(self) -> None:
        found = ask(Guard(App(), self.limits), parts=[b"12345"] * 1000)
        assert found.status == 413
        assert found.read <= 10 * bodies.DRAINED + 5

    def test_a_slow_body_is_given_up(self, monkeypatch) -> None:
        monkeypatch.setattr(bodies, "SLOWEST_BODY", 0.05)
        found = ask(Guard(App(), self.limits), parts=[b"1"] * 5, pause=0.03)
        assert (found.status, found.code) == (408, "too_slow")

    def test_a_client_that_has_gone_is_answered_all_the_same(self) -> None:
        # BentoML's timer of a request that no answer begins holds up the end of the server.
        app = App()
        found = ask(Guard(app, self.limits), parts=[])
        assert (found.status, found.code, app.bodies) == (400, "cut_off", [])

    def test_a_slow_answer_is_given_up(self, monkeypatch) -> None:
        monkeypatch.setattr(guard, "SLOWEST_ANSWER", 0.02)
        given_up = []

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                given_up.append(True)
                raise

        made = Guard(slow, self.limits)
        found = ask(made)
        assert (found.status, found.code, given_up) == (504, "timed_out", [True])
        # Its place is free again.
        assert made._under_way == 0

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ([(b"content-type", b"")], 415),
            ([(b"Content-Type", b"application/json; charset=utf-8")], 200),
            ([(b"content-encoding", b"identity")], 200),
            ([(b"content-type", b"text/plain")], 415),
            ([(b"content-type", b"application/vnd.bentoml+pickle")], 415),
            # Whichever of the two the service would go by.
            ([(b"content-type", b"a/b"), (b"content-type", b"application/json")], 400),
            ([(b"content-type", b"application/json"), (b"content-type", b"a/b")], 400),
            ([(b"content-type", b"application/json"), (b"content-encoding", b"gzip")], 415),
        ],
    )
    def test_what_is_no_json_is_not_read(self, headers, status) -> None:
        assert ask(Guard(App(), self.limits), headers=headers).status == status


def test_a_slow_body_takes_no_place() -> None:
    async def run() -> None:
        app = Guard(App(), Limits(concurrency=1))
        slow = [asyncio.create_task(Asked(app, pause=0.1).run()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert (await Asked(app).run()).status == 200
        assert [(await each).status for each in slow] == [200] * 3

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/", "/app/", "/docs", "/app/files/a/b.js", "/livez"])
def test_a_request_without_a_token_takes_no_place_and_has_no_body(path: str) -> None:
    async def run() -> None:
        go = asyncio.Event()
        app = Guard(App(go), Limits(tokens=lambda: {hashed("t"): "a"}, concurrency=1))
        waiting = [asyncio.create_task(Asked(app, path=path, method="GET").run()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert app._under_way == 0
        body = [(b"content-length", b"9")]
        refused = await Asked(app, path=path, method="GET", headers=body).run()
        assert (refused.status, refused.code, refused.read) == (400, "no_body", 0)
        go.set()
        assert [(await each).status for each in waiting] == [200] * 3

    asyncio.run(run())


def test_an_app_whose_client_left_ends_with_an_answer() -> None:
    async def app(scope, receive, send) -> None:
        """Read the body, and answer nothing."""
        await receive()

    assert ask(Guard(app, Limits())).status == guard.LEFT


def test_a_body_of_a_single_patient_is_smaller_than_a_list() -> None:
    size = [(b"content-length", str(guard.SINGLE + 1).encode())]
    body = [b"x" * (guard.SINGLE + 1)]
    assert ask(Guard(App(), Limits()), parts=body, headers=size).status == 413
    assert (
        ask(Guard(App(), Limits()), parts=body, headers=size, path="/predict_batch").status == 200
    )


def test_starlette_redirects_to_no_other_slash() -> None:
    app = Starlette(routes=[Route("/a", lambda _: Response())])

    async def run() -> int:
        async def nothing(*_: Any) -> Any:
            return {"type": "lifespan.shutdown"}

        made = Guard(app)
        await made({"type": "lifespan", "app": app}, nothing, nothing)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(made), base_url="http://127.0.0.1"
        ) as client:
            return (await client.get("/a/")).status_code

    assert asyncio.run(run()) == 404


def test_beyond_the_limit_requests_are_put_off_and_their_places_come_free() -> None:
    async def run() -> None:
        go = asyncio.Event()
        app = Guard(App(go), Limits(concurrency=2))
        first = [asyncio.create_task(Asked(app).run()) for _ in range(2)]
        await asyncio.sleep(0.01)
        third = await Asked(app).run()
        assert (third.status, third.code) == (429, "too_many_requests")
        assert int(third.headers[b"retry-after"]) >= 1
        go.set()
        assert [(await each).status for each in first] == [200, 200]
        assert (await Asked(app).run()).status == 200

    asyncio.run(run())


def test_one_too_many_is_held_back_and_so_are_no_more_than_may_be_under_way(monkeypatch) -> None:
    monkeypatch.setattr(guard, "HELD_BACK", 0.2)

    async def run() -> None:
        app = Guard(App(asyncio.Event()), Limits(concurrency=2))
        first = [asyncio.create_task(Asked(app).run()) for _ in range(2)]
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(Asked(app).run()) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert [each.done() for each in others] == [False, False, True, True, True]
        assert [(await each).status for each in others] == [429] * 5
        assert (app._held_back, app._under_way) == (0, 2)
        for each in first:
            each.cancel()

    asyncio.run(run())


def test_a_place_comes_free_when_the_service_fails() -> None:
    async def fails(scope, receive, send) -> None:
        raise RuntimeError

    app = Guard(fails, Limits(concurrency=1))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            ask(app)


def test_answers_carry_strict_headers_but_keep_their_own() -> None:
    async def page(scope, receive, send) -> None:
        headers = [(b"Cache-Control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    found = ask(Guard(page, Limits()))
    assert found.headers[b"x-content-type-options"] == b"nosniff"
    assert found.headers[b"x-frame-options"] == b"DENY"
    assert found.headers[b"Cache-Control"] == b"max-age=60"
    assert b"cache-control" not in found.headers


class TestEnvironment:
    def test_nothing_said_is_the_usual(self) -> None:
        assert Limits.of_environment({}) == Limits()

    def test_what_is_said_counts(self, tmp_path: Path) -> None:
        _, line = new_token("a")
        (tmp_path / "t").write_text(line)
        made = Limits.of_environment(
            {
                TOKENS_VARIABLE: str(tmp_path / "t"),
                CONCURRENCY_VARIABLE: "7",
                BODY_VARIABLE: "0.5",
                MEMORY_VARIABLE: "64",
            }
        )
        assert (made.concurrency, made.body, list(made.tokens().values())) == (7, 2**19, ["a"])
        assert made.memory == 2**26

    def test_a_body_and_an_answer_have_to_fit_into_the_memory(self) -> None:
        with pytest.raises(InputError, match="at least 64"):
            Limits.of_environment({MEMORY_VARIABLE: "63"})

    @pytest.mark.parametrize("value", ["0", "-1", "0.5", "7.5", "many", "nan", "inf"])
    def test_a_limit_that_is_none_is_refused(self, value: str) -> None:
        with pytest.raises(InputError, match=CONCURRENCY_VARIABLE):
            Limits.of_environment({CONCURRENCY_VARIABLE: value})
