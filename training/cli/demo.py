"""The verb ``demo``: from a synthetic table to an answer over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from accomplice.data.escaping import say
from accomplice.training.cli.terminal import relative, say_cohort, say_result, shown_search


@dataclass(frozen=True)
class Size:
    """Size of a demonstration."""

    patients: int
    trials: int
    """Trials of the search."""
    settings: tuple[str, ...] = ()
    """Changed settings, each as ``key=value``."""


#: Size by default.
FULL = Size(patients=800, trials=12)
#: Size with ``--short``.
SHORT = Size(
    patients=240,
    trials=2,
    settings=("net.members=4", "net.max_epochs=20", "evaluation.peers=false"),
)

#: Made-up patient; the other features are missing, as they often are in a hospital.
PATIENT = {
    "patient_id": "demo-1",
    "age": 61,
    "sex": "Male",
    "stage": "III",
    "t_stage": "T3",
    "n_stage": "N2",
    "m_stage": "M0",
    "lauren": "diffuse",
    "msi": "MSS",
    "act": "yes",
    "IL1R1": 7.2,
    "CD163": 8.1,
}


def demo(
    *,
    short: Annotated[bool, typer.Option("--short", help="fewer patients and trials")] = False,
) -> None:
    """The whole life of a model on the synthetic cohort.

    Makes a synthetic cohort, tunes, trains, judges, registers and packages a model, and asks the
    packaged service for one patient; prints where to look. Takes minutes on two cores.
    """
    from accomplice.training.tracking.store import check_stores

    check_stores()
    from mlflow import MlflowClient

    from accomplice.data.loading import load_cohort
    from accomplice.data.synthetic_study import synthesise
    from accomplice.serving.deployment.origin import origin_json
    from accomplice.serving.deployment.packaging import package
    from accomplice.serving.deployment.server import running, serve_command
    from accomplice.training.config import configure
    from accomplice.training.processes import free_port
    from accomplice.training.reports.wording import SYNTHETIC
    from accomplice.training.tracking.experiment import search
    from accomplice.training.tracking.promotion import champion_of
    from accomplice.training.tracking.store import find_bundle, find_source, open_store
    from accomplice.training.tracking.ui.links import links

    size = SHORT if short else FULL
    began = time.monotonic()
    store = open_store()
    title(f"1  a synthetic cohort of {size.patients} patients")
    study = synthesise(store.root / "demo", size.patients, "default", seed=0)
    config = configure(size.settings)
    cohort = load_cohort(study)
    say_cohort(cohort)

    title(f"2  tune ({size.trials} trials), train, judge, register")
    # Every demonstration is a study of its own, so that it shows the work.
    name = f"demo-{int(time.time())}"
    with shown_search() as callbacks:
        trained, path, logged = search(
            *(store, cohort, config, size.trials), name=name, study_file=study, **callbacks
        )
    say_result(trained, path, logged)

    champion = champion_of(MlflowClient(), logged.model_name) is not None
    title(f"3  package the {'champion' if champion else 'model, which the gate did not promote'}")
    named = "@champion" if champion else f"/{logged.version}"
    source = find_source(f"models:/{logged.model_name}{named}")
    origin = origin_json(source.run_id, source.version)
    packed = package(find_bundle(source.model), store.bentos, origin=origin)
    say(f"bento    {packed.tag}")
    say(f"folder   {relative(packed.path)}")

    title("4  ask the packaged service for one patient, over HTTP")
    port = free_port()
    argv, environment = serve_command(packed.path, port)
    body = {"patient": PATIENT, "times": [12, 36, 60]}
    with running(argv, environment, port) as url:
        say(f"POST {url}/predict")
        say(json.dumps(body))
        answer = ask(f"{url}/predict", body)
    answer["curve"] = [*answer["curve"][:2], "..."]
    say(*json.dumps(answer, indent=2).splitlines())

    title(f"done in {time.monotonic() - began:.0f} s; {SYNTHETIC}")
    say("look at the runs:      accomplice ui, which serves")
    for line in links(5000):
        say(f"  {line}")
    say(f"serve it yourself:     accomplice serve {relative(packed.path)}")
    say(f"the bundle:            {relative(path)}")
    say("your own cohort:       accomplice data init cohort.csv --time T --event E")


def title(text: str) -> None:
    """Print a heading."""
    say("", f"== {text}", flush=True)


def ask(url: str, body: Mapping[str, object]) -> dict[str, list[object]]:
    """Post JSON to a server on this machine and return its answer.

    Args:
        url: address of the route.
        body: data of the request.

    Raises:
        OSError: the server cannot be reached, or answers with an error.
        ValueError: the answer is no JSON.
    """
    import urllib.request

    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    # No proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        found: dict[str, list[object]] = json.loads(response.read())
    return found
