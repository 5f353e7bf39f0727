"""Memory that bodies and answers of requests take together."""

from __future__ import annotations

import asyncio

from accomplice.serving.api import bodies, guard
from accomplice.serving.api.guard import (
    Guard,
    Limits,
)
from tests.serving.api.test_guard import (
    App,
    Asked,
    ask,
)


class TestMemory:
    #: Bytes that are counted, unlike those of a single patient.
    large = 2 * bodies.SMALL

    def test_large_bodies_beyond_it_are_put_off_and_small_ones_are_not(self) -> None:
        async def run() -> None:
            go = asyncio.Event()
            app = Guard(App(go), Limits(memory=self.large + 9))
            held = [(b"content-length", str(self.large).encode())]
            path = "/predict_batch"
            first = asyncio.create_task(
                Asked(app, [b"x" * self.large], headers=held, path=path).run()
            )
            await asyncio.sleep(0.01)
            for headers in (held, ()):
                other = await Asked(app, [b"x" * self.large], headers=headers, path=path).run()
                assert (other.status, other.code) == (429, "too_many_requests")
                assert other.headers[b"retry-after"] == b"1"
            go.set()
            assert (await Asked(app).run()).status == 200
            assert (await first).status == 200
            assert app.memory.held == 0
            assert (await Asked(app, [b"x" * self.large], headers=held, path=path).run()).status

        asyncio.run(run())

    def test_a_large_answer_beyond_it_is_not_sent(self) -> None:
        async def large(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * self.large})

        for most, status in ((self.large - 1, 429), (self.large, 200)):
            app = Guard(large, Limits(memory=most))
            assert ask(app).status == status
            assert app.memory.held == 0

    def test_a_long_answer_is_sent_in_parts(self, monkeypatch) -> None:
        sizes: list[int] = []
        content = b"x" * (2 * guard.PART + 5)

        async def large(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": content})

        found = Asked(Guard(large, Limits()))
        sent = found.send

        async def send(message) -> None:
            sizes.append(len(message.get("body", b"")))
            await sent(message)

        monkeypatch.setattr(found, "send", send)
        assert asyncio.run(found.run()).body == content
        assert sizes == [0, guard.PART, guard.PART, 5]

    def test_a_client_that_takes_no_part_in_time_is_given_up(self, monkeypatch) -> None:
        monkeypatch.setattr(guard, "SLOWEST_PART", 0.02)

        async def large(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * self.large})

        app = Guard(large, Limits())
        found = Asked(app)

        async def never(message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(10)

        monkeypatch.setattr(found, "send", never)
        asyncio.run(found.run())
        assert app.memory.held == app._under_way == 0
