"""A packed Bento: what is in it, and that it answers as the bundle does."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from accomplice.serving.deployment.bento_files import SUMS
from accomplice.serving.deployment.origin import origin_json, read_origin
from accomplice.serving.deployment.packaging import (
    OURS,
    REQUIRED,
    ROOT,
    Packaged,
    bento_name,
    data_files,
    package,
    source_files,
)
from accomplice.serving.deployment.server import quiet_environment, running, serve_command
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.models.manifest import digest_of, read_folder
from accomplice.training.processes import free_port

CANARY = "canary-71"
FRACTION = 86420.97531

# Imports of what training alone needs fail; so do those of a module of ours that was not packed.
ISOLATED = """
import sys
blocked = {"torch", "pytorch_lightning", "mlflow", "optuna", "matplotlib", "sksurv", "scipy"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import importlib
for name in sys.argv[2:]:
    importlib.import_module(name)
ours = [m for n, m in sys.modules.items() if n.split(".")[0] == "accomplice"]
print(all(m.__file__.startswith(sys.argv[1]) for m in ours), len(ours))
"""


#: Notes each process that BentoML starts, by its words.
WATCHED = """
import pathlib, sys
seen = pathlib.Path(__file__).with_name("seen")
def note(words):
    with seen.open("a") as file:
        print(*(pathlib.Path(str(word)).name for word in words), file=file)
sys.addaudithook(lambda event, args: event == "subprocess.Popen" and note(args[1]))
note(["import"])
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def packaged(bundle_path: Path, store: Path) -> Packaged:
    with pytest.MonkeyPatch.context() as patch:
        # As another project may have it; BentoML would pack its own sources.
        patch.setenv("BENTOML_BUNDLE_LOCAL_BUILD", "True")
        return package(read_folder(bundle_path), store)


@pytest.fixture(scope="module")
def newer(other_path: Path, store: Path, packaged: Packaged) -> Packaged:
    """Another version beside the first."""
    return package(read_folder(other_path), store, origin=origin_json("run-2", "2"))


def files_in(path: Path) -> set[str]:
    return {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()}


def test_the_packed_code_imports_by_itself(tmp_path: Path) -> None:
    for source in (*source_files(), *data_files()):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, tmp_path / source)
    # All of them, since some are imported when a function of another runs.
    modules = [
        s.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for s in source_files()
    ]
    done = subprocess.run(
        [sys.executable, "-c", ISOLATED, str(tmp_path), *modules],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", str(len(source_files()))]


def test_all_that_the_packed_code_imports_is_pinned() -> None:
    imported: set[str] = set()
    for source in source_files():
        for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    others = imported - set(sys.stdlib_module_names) - {OURS}
    others |= {"httptools", "uvloop"}  # uvicorn imports them, where they are
    assert {"yaml" if name == "pyyaml" else name for name in REQUIRED} == others


def test_a_bento_holds_the_service_the_bundle_and_nothing_else(
    packaged: Packaged, bundle_path: Path
) -> None:
    found = files_in(packaged.path)
    source = {name.removeprefix("src/") for name in found if name.startswith("src/")}
    bundle_files = {f"bundle/{name}" for name in files_in(bundle_path)}
    assert source == {*source_files(), *data_files(), *bundle_files, "bentofile.yaml"}
    assert digest_of(packaged.path / "src" / "bundle") == digest_of(bundle_path)
    endings = {Path(name).suffix for name in found}
    assert not endings & {".csv", ".tsv", ".parquet", ".pkl", ".pickle", ".pt", ".pyc", ".db"}
    assert {"src/accomplice/data/panels/common.yaml"} <= found
    assert not [name for name in found if "test" in name or "synthetic" in name]


def test_a_bento_says_what_it_is(packaged: Packaged, bundle_path: Path) -> None:
    described = yaml.safe_load((packaged.path / "bento.yaml").read_text())
    assert f"{described['name']}:{described['version']}" == packaged.tag
    assert described["labels"] == {
        "bundle": digest_of(bundle_path),
        "study": "made-up",
        "synthetic": "true",
    }
    assert "SYNTHETIC" in (packaged.path / "README.md").read_text()
    pins = (packaged.path / "env" / "python" / "requirements.txt").read_text().split()
    assert sorted(pin.split("==")[0] for pin in pins) == sorted(REQUIRED)
    assert not [pin for pin in pins if "+" in pin]


def test_the_same_bundle_packs_to_the_same_tag(
    packaged: Packaged, bundle_path: Path, store: Path
) -> None:
    before = (packaged.path / "bento.yaml").stat().st_mtime_ns
    assert package(read_folder(bundle_path), store) == packaged
    assert (packaged.path / "bento.yaml").stat().st_mtime_ns == before
    assert digest_of(bundle_path)[:12] in packaged.tag


def test_an_older_context_gives_way(packaged: Packaged, bundle_path: Path, store: Path) -> None:
    (packaged.context / "stale").write_text("x")
    package(read_folder(bundle_path), store)
    assert (packaged.context / "Dockerfile").is_file()
    assert not (packaged.context / "stale").exists()
    assert not list(store.glob(".*"))


def test_the_archive_holds_the_same(packaged: Packaged) -> None:
    assert packaged.archive is not None
    with tarfile.open(packaged.archive) as archive:
        names = {m.name.removeprefix("./") for m in archive.getmembers() if m.isfile()}
    assert names == files_in(packaged.path)


def test_two_versions_live_side_by_side_in_one_store(
    packaged: Packaged, newer: Packaged, store: Path
) -> None:
    assert packaged.tag.split(":")[0] == newer.tag.split(":")[0]
    assert packaged.tag != newer.tag
    assert packaged.path.parent == newer.path.parent
    listed = subprocess.run(
        [sys.executable, "-m", "bentoml", "list", "-o", "json"],
        env=quiet_environment() | {"BENTOML_HOME": str(store)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {each["tag"] for each in json.loads(listed.stdout)} == {packaged.tag, newer.tag}


def test_where_a_bundle_came_from_is_packed_beside_it(packaged: Packaged, newer: Packaged) -> None:
    assert read_origin(newer.path / "src" / "bundle") == {"run_id": "run-2", "version": "2"}
    added = files_in(newer.path) - files_in(packaged.path)
    assert added == {"src/origin.json"}


def test_checksums_of_all_files_are_packed(packaged: Packaged) -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (packaged.path / SUMS).read_text().splitlines()
    )
    assert {*listed, SUMS} == files_in(packaged.path)
    for name, sha in listed.items():
        assert hashlib.sha256((packaged.path / name).read_bytes()).hexdigest() == sha


@pytest.mark.slow
def test_two_versions_unpacked_elsewhere_serve_at_once(
    packaged: Packaged, newer: Packaged, patient: dict[str, Any], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        for each in (packaged, newer):
            place, port = tmp_path / each.tag.replace(":", "-"), free_port()
            assert each.archive is not None
            with tarfile.open(each.archive) as archive:
                archive.extractall(place, filter="data")
            # Each with a home of its own for BentoML, which knows no Bento.
            url = stack.enter_context(running(*serve_command(place, port), port))
            clients.append(
                stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30))
            )
        answers = [c.post("/predict", json={"patient": patient}).json() for c in clients]
        shown = [c.get("/model").json() for c in clients]
        pages = [c.get("/", follow_redirects=True) for c in clients]
        forms = [c.get("/app/form") for c in clients]
    assert answers[1]["risk"] == pytest.approx(answers[0]["risk"] + 1)
    for each, answer, said in zip((packaged, newer), answers, shown, strict=True):
        assert each.tag.split(":")[1].startswith(answer["model"]["digest"][:12])
        assert said["digest"] == answer["model"]["digest"]
    assert [said["version"] for said in shown] == [None, "2"]
    assert {page.status_code for page in (*pages, *forms)} == {200}


def test_nothing_is_installed_to_pack(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCHED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    package(read_folder(bundle_path), tmp_path / "store")
    seen = (tmp_path / "seen").read_text().split()
    assert "import" in seen  # the watch was there
    assert not {*seen} & {"pip", "uv", "install", "build"}


@pytest.mark.parametrize(
    ("text", "name"), [("Made_Up v2", "made-up-v2"), ("--", "accomplice"), ("x" * 99, "x" * 63)]
)
def test_names_are_made_fit(text: str, name: str) -> None:
    assert bento_name(text) == name


def test_a_served_bento_answers_as_the_bundle_and_logs_no_value(
    packaged: Packaged, bundle: Bundle, patient: dict[str, Any], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    patients = [patient, {**patient, "patient": CANARY, "age": None, "CD8": FRACTION}]
    patients[1].pop("age_years")
    with (
        running(*serve_command(packaged.path, port), port, log=log) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        answer = client.post("/predict", json={"patient": patient})
        batch = client.post("/predict_batch", json={"patients": patients, "times": [24]})
        for path, body in (
            ("/predict", {"patient": {"age": CANARY, "sex": CANARY, "IL1R1": FRACTION}}),
            ("/predict", {"patient": {"age": [CANARY]}, "times": [CANARY, FRACTION]}),
            ("/predict", {"patient": CANARY}),
            ("/predict", CANARY),
            ("/predict_batch", {"patients": [CANARY, {"age": {"x": FRACTION}}]}),
            ("/explain", {"patient": {"age": CANARY, CANARY: FRACTION, "CD8": FRACTION}}),
            ("/what_if", {"patient": patient, "feature": CANARY, "values": [FRACTION]}),
            ("/what_if", {"patient": {"CD8": FRACTION, "sex": CANARY}, "feature": "age"}),
            (f"/{CANARY}", {"patient": patient}),
        ):
            client.post(path, json=body)
        client.post("/predict", content=f'{{"patient": {{"age": "{CANARY}" {FRACTION}'.encode())
        client.post("/predict", content=f'{{"age": NaN, "x": "{CANARY}"}}'.encode())
        pickle = {"content-type": "application/vnd.bentoml+pickle"}
        client.post("/predict", content=CANARY.encode(), headers=pickle)
        client.get("/predict", params={"age": CANARY})
        shown = {path: client.get(path) for path in ("/docs.json", "/model", "/metrics")}
    expected = bundle.predict(pd.DataFrame([patient])).iloc[0]
    for name in ("risk", "survival@12", "survival@36", "survival@60"):
        assert answer.json()[name] == pytest.approx(expected[name], abs=1e-6)
    frame = pd.DataFrame(patients).drop(columns="age")
    risks = [p["risk"] for p in batch.json()["patients"]]
    assert risks == pytest.approx(bundle.predict(frame)["risk"].tolist(), abs=1e-6)
    assert {response.status_code for response in shown.values()} == {200}
    schemas = shown["/docs.json"].json()["components"]["schemas"]
    assert "age_years" in schemas["Patient"]["properties"]
    assert packaged.tag.split(":")[1].startswith(shown["/model"].json()["digest"][:12])
    monitored = shown["/metrics"].text
    assert "accomplice_patients_total 4.0" in monitored
    assert 'accomplice_requests_total{route="/what_if",status="400"} 1.0' in monitored
    assert CANARY not in monitored
    assert str(FRACTION) not in monitored
    text = log.read_text()
    assert "POST /predict 200" in text
    assert CANARY not in text
    assert str(FRACTION) not in text


def test_the_command_line_says_what_to_do_next(
    bundle_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["package", str(bundle_path), "--name", "ward"]) == 0
    said = capsys.readouterr().out
    lines = dict(line.partition(" ")[::2] for line in said.splitlines() if line[0] != " ")
    tag, place = lines["bento"].strip(), Path(lines["folder"].strip())
    assert tag.startswith("ward:")
    assert (place / "bento.yaml").is_file()
    assert Path(lines["archive"].strip()).is_file()
    assert (Path(lines["image"].split(",")[0].strip()) / "Dockerfile").is_file()
    assert f"docker build -t {tag} " in said
    assert ":/run/secrets/tokens:ro" in said
    assert lines["next"].strip() == f"accomplice serve {place}"
    assert "BENTOML_HOME=mlruns/bentoml bentoml list" in lines["all"]
    # A folder's run is not known: nothing is made up.
    assert not (place / "src" / "origin.json").exists()
