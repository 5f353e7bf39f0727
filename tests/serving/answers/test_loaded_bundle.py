"""One bundle takes another's place while answers are under way."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from accomplice.data.errors import InputError
from accomplice.serving.answers.batching import RequestScheduler
from accomplice.serving.answers.loaded_bundle import BundleSlot, LoadedBundle
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.deployment.handover import Version
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.models.manifest import digest_of


def answering(bundle: Bundle) -> LoadedBundle:
    predictor = Predictor(bundle, "digest")
    return LoadedBundle(predictor, RequestScheduler(predictor), "form", b"{}", b"{}")


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith(("single", "long"))}


def test_what_is_taken_stays_whole_and_ends_with_its_last_user(
    bundle: Bundle, patient: dict[str, Any]
) -> None:
    before, asked = set(threading.enumerate()), CheckedRequest([patient], None)
    live, first, second = BundleSlot(), answering(bundle), answering(bundle)
    live.put(first)

    async def run() -> None:
        with live.use() as one, live.use() as other:
            assert one is other is first
            await one.scheduler.predict_one(asked)
            live.put(second)
            with live.use() as new:
                assert new is second
            # Begun before, answered after.
            assert await one.scheduler.predict_many(asked)
        with pytest.raises(RuntimeError, match="shutdown"):
            await first.scheduler.predict_many(asked)
        await second.scheduler.predict_one(asked)

    asyncio.run(run())
    live.put(None)
    with pytest.raises(RuntimeError, match="no bundle yet"), live.use():
        pass
    made = set(threading.enumerate()) - before
    for thread in made:
        thread.join(10)
    assert not any(thread.is_alive() for thread in made)


def test_nothing_keeps_what_answers_no_more(bundle: Bundle) -> None:
    live, first = BundleSlot(), answering(bundle)
    live.put(first)
    gone = weakref.ref(first.scheduler)
    with live.use():
        live.put(answering(bundle))
    del first
    gc.collect()
    assert gone() is None
    live.put(None)


def test_who_gave_up_waiting_is_no_error(bundle: Bundle, patient: dict[str, Any]) -> None:
    live = BundleSlot()
    live.put(answering(bundle))

    async def ask() -> None:
        with live.use() as now:
            await now.scheduler.predict_one(CheckedRequest([patient], None))

    async def run() -> list[Any]:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: errors.append(said))
        tasks = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        live.put(None)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)
        gc.collect()
        return errors

    assert asyncio.run(run()) == []


def load(version: Version) -> None:
    from accomplice.serving import endpoint, service

    endpoint.load(version, service.PAGE)


class TestService:
    """The service in this process."""

    @pytest.fixture
    def moved(self, client: Any, bundle_path: Path, other_path: Path) -> Iterator[Version]:
        """Let the other bundle answer; the first one does again in the end."""
        from accomplice.serving import endpoint

        version = Version(str(other_path), digest_of(other_path), "run-2", "2")
        load(version)
        endpoint.log_reload(version, None)
        yield version
        load(Version(str(bundle_path)))

    def test_everything_is_the_new_one_s(
        self, client: Any, bundle: Bundle, patient: dict[str, Any], moved: Version
    ) -> None:
        answer = client.post("/predict", {"patient": patient}).json()
        assert answer["model"]["digest"] == moved.digest
        assert (answer["model"]["run_id"], answer["model"]["version"]) == ("run-2", "2")
        old = Predictor(bundle, "").answers(CheckedRequest([patient], None))[0]
        assert answer["risk"] == pytest.approx(old["risk"] + 1)
        for path, body in (
            ("/predict_batch", {"patients": [patient]}),
            ("/explain", {"patient": patient}),
            ("/what_if", {"patient": patient, "feature": "stage"}),
        ):
            assert client.post(path, body).json()["model"] == answer["model"], path
        said = client.request("GET", "/model").json()
        assert (said["digest"], said["version"]) == (moved.digest, "2")
        documented = client.request("GET", "/docs.json").json()
        assert documented["info"]["version"] == moved.digest[:12]
        assert moved.digest[:12] in client.request("GET", "/app/form").text
        monitored = client.request("GET", "/metrics").text
        about = [line for line in monitored.splitlines() if line.startswith("accomplice_model{")]
        assert len(about) == 1
        assert f'digest="{moved.digest[:12]}"' in about[0]
        assert 'version="2"' in about[0]

    def test_counts_go_on_and_moves_are_counted(
        self, client: Any, patient: dict[str, Any], bundle_path: Path, other_path: Path
    ) -> None:
        from accomplice.serving import endpoint

        def count(name: str) -> float:
            text = client.request("GET", "/metrics").text
            (line,) = [each for each in text.splitlines() if each.startswith(f"{name} ")]
            return float(line.split()[-1])

        moves = 'accomplice_reloads_total{outcome="moved"}'
        client.post("/predict", {"patient": patient})
        patients, before = count("accomplice_patients_total"), count(moves)
        for path in (other_path, bundle_path):
            load(Version(str(path)))
            endpoint.log_reload(Version(str(path)), None)
            client.post("/predict", {"patient": patient})
        assert count("accomplice_patients_total") == patients + 2
        assert count(moves) == before + 2

    def test_an_answer_under_way_is_the_old_one_s(
        self, client: Any, patient: dict[str, Any], bundle_path: Path, other_path: Path
    ) -> None:

        digests = {str(path): digest_of(path) for path in (bundle_path, other_path)}
        people = {"patients": [patient] * 2000}

        async def run() -> list[httpx.Response]:
            http = client.http
            asking = [
                asyncio.create_task(http.post("/predict_batch", json=people)) for _ in range(4)
            ]
            await asyncio.sleep(0.05)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, load, Version(str(other_path)))
            return [*await asyncio.gather(*asking), await http.post("/predict_batch", json=people)]

        try:
            answers = [response.json() for response in client.runner.run(run())]
        finally:
            load(Version(str(bundle_path)))
        assert answers[0]["model"]["digest"] == digests[str(bundle_path)]
        assert answers[-1]["model"]["digest"] == digests[str(other_path)]
        first = answers[0]["patients"][0]["risk"]
        for answer in answers:
            moved = answer["model"]["digest"] == digests[str(other_path)]
            risks = {round(each["risk"], 6) for each in answer["patients"]}
            assert risks == {round(first + moved, 6)}

    def test_a_bundle_that_fails_is_refused_in_one_line(
        self,
        client: Any,
        patient: dict[str, Any],
        other_path: Path,
        drifted_path: Path,
        tmp_path: Path,
        logged: Any,
    ) -> None:
        from accomplice.serving import endpoint

        before = client.post("/predict", {"patient": patient}).json()
        cases = (
            (Version(str(other_path), "another digest", "r", "3"), "its digest differs"),
            (Version(str(tmp_path / "none"), None, "r", "4"), "no bundle there"),
            (Version(str(drifted_path), None, "r", "5"), "answers its own test rows differently"),
        )
        for version, why in cases:
            with pytest.raises(InputError, match=why) as caught:
                load(version)
            logged.clear()
            endpoint.log_reload(version, caught.value)
            (line,) = logged
            assert f"version {version.version}" in line
            assert why in line
            assert "\n" not in line
        logged.clear()
        endpoint.log_reload(cases[0][0], ValueError("canary-71"))
        assert "ValueError" in logged[0]
        assert "canary" not in logged[0]
        assert client.post("/predict", {"patient": patient}).json() == before
        assert client.request("GET", "/readyz").status_code == 200
