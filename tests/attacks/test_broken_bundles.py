"""Bundles that are not what they say: each ends in one line, in no time and in little memory.

All have true digests, as any maker can give. Those that load in spite of a change must predict.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

from accomplice.data.errors import InputError
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.models.manifest import LARGEST, MANIFEST, WEIGHTS, to_json

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits memory and time")

#: Most of a bundle's JSON files are read at load; the others when they are asked for.
READ = ("study.json", "model.json", "preprocessing.json", "golden.json", "provenance.json")
#: Values that no key of a bundle expects all of.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 1e9, 10**9, 10**30, -0.5, 1e308, "", "x", "../x", "\x1b[2J"),
    *([], {}, [[]], [None], {"x": 1}, [1, "x"], ["x"] * 3),
)
#: Seconds and bytes that a load may take.
TIME, MEMORY = 10.0, 4 << 30


def remake(folder: Path, **fields: Any) -> None:
    """Write a manifest that agrees with the files, as anybody who changes a bundle can."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest.pop("digest", None)
    manifest["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in LARGEST
        if (folder / name).is_file()
    }
    write_manifest(folder, manifest | fields)


def write_manifest(folder: Path, manifest: Any) -> None:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_bytes(to_json(manifest | {"digest": digest}))


def edit(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    raw = json.loads((folder / name).read_bytes())
    changed = change(raw)
    (folder / name).write_bytes(json.dumps(raw if changed is None else changed).encode())
    remake(folder)


def edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    arrays = load((folder / WEIGHTS).read_bytes())
    change(arrays)
    arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    (folder / WEIGHTS).write_bytes(save(arrays))
    remake(folder)


def said_of(folder: Path) -> str:
    """Return the line that refuses a bundle; empty if it loads and predicts."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            bundle = Bundle.load(folder)
            bundle.predict(pd.DataFrame([dict.fromkeys(bundle.study.columns())] * 2))
            said = ""
        except InputError as error:
            said = " ".join(str(error).split())
    assert warned == []
    return said


@pytest.fixture
def broken(bundle_path: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to change, with little memory and time to read it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    watched = signal.signal(signal.SIGALRM, _late)
    yield Path(shutil.copytree(bundle_path, tmp_path / "b"))
    signal.signal(signal.SIGALRM, watched)
    resource.setrlimit(resource.RLIMIT_AS, before)


def _late(*_: object) -> None:
    raise AssertionError("a bundle took too long to be refused")


def refused(folder: Path, words: str = "") -> str:
    signal.setitimer(signal.ITIMER_REAL, TIME)
    try:
        said = said_of(folder)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0 < len(said) < 1000
    assert words in said
    return said


def test_a_whole_bundle_is_read(broken: Path) -> None:
    assert said_of(broken) == ""
    remake(broken)
    assert said_of(broken) == ""


class TestManifest:
    @pytest.mark.parametrize(
        "name", ["../up.json", "/etc/hostname", "/proc/kmsg", "sub/x.json", "evil.py", ".", ""]
    )
    def test_no_other_names_than_a_bundles_are_read(self, broken: Path, name: str) -> None:
        (broken.parent / "up.json").write_bytes(b"{}")
        files = json.loads((broken / MANIFEST).read_bytes())["files"]
        remake(broken, files=files | {name: hashlib.sha256(b"{}").hexdigest()})
        refused(broken, "changed after it was made")

    @pytest.mark.parametrize(
        "text",
        [b"", b"{", b"[]", b"null", b"[" * 10**6, b'{"a":' * 10**5, b"\xff", b"1e999", b'"x"'],
    )
    def test_what_is_no_manifest_is_one_line(self, broken: Path, text: bytes) -> None:
        (broken / MANIFEST).write_bytes(text)
        refused(broken)

    @pytest.mark.parametrize("key", ["format", "study", "synthetic", "files"])
    def test_any_value_of_any_key_is_one_line(self, broken: Path, key: str) -> None:
        manifest = json.loads((broken / MANIFEST).read_bytes())
        del manifest["digest"]
        for value in (*ODD, 5, 7, "6", 6.0, {"model.json": 5}, {MANIFEST: ""}):
            write_manifest(broken, manifest | {key: value})
            if value != manifest[key]:
                refused(broken)
        write_manifest(broken, {k: v for k, v in manifest.items() if k != key})
        refused(broken)

    def test_another_study_or_kind_of_patients_than_its_files_is_refused(
        self, broken: Path
    ) -> None:
        for changed in ({"study": "another"}, {"synthetic": False}):
            shutil.copy(broken / MANIFEST, broken.parent / "before")
            remake(broken, **changed)
            refused(broken, "not those of a model")
            shutil.copy(broken.parent / "before", broken / MANIFEST)


class TestFiles:
    @pytest.mark.parametrize("name", [MANIFEST, "metrics.json", WEIGHTS, "manifest.json.sig"])
    def test_nothing_but_regular_files_is_opened(self, broken: Path, name: str) -> None:
        outside = broken.parent / "outside"
        if name != "manifest.json.sig":
            (broken / name).rename(outside)
        else:
            outside.write_bytes(b"x")
        for make in (
            lambda place: place.symlink_to(outside),
            lambda place: place.symlink_to("/dev/zero"),
            lambda place: place.symlink_to(place.name),
            lambda place: os.mkfifo(place),
            lambda place: place.mkdir(),
        ):
            make(broken / name)
            refused(broken, "regular file")
            if (broken / name).is_dir() and not (broken / name).is_symlink():
                (broken / name).rmdir()
            else:
                (broken / name).unlink()

    @pytest.mark.parametrize("name", [*LARGEST, MANIFEST, "manifest.json.sig"])
    def test_nothing_larger_than_its_bound_is_read(self, broken: Path, name: str) -> None:
        with (broken / name).open("ab") as file:
            file.truncate((6 << 30) if name in LARGEST else (1 << 20))  # takes no space on disk
        refused(broken, "that it may have")

    @pytest.mark.parametrize("name", [name for name in LARGEST if name != WEIGHTS])
    @pytest.mark.parametrize(
        "text", [b"", b"{", b"{}", b"[]", b"null", b"[" * 10**6, b'{"x":' * 10**5, b"NaN", b"\xfe"]
    )
    def test_any_json_in_place_of_a_file(self, broken: Path, name: str, text: bytes) -> None:
        (broken / name).write_bytes(text)
        remake(broken)
        if (name, text) != ("metrics.json", b"{}"):
            refused(broken)

    @pytest.mark.parametrize("name", [*READ, "metrics.json"])
    def test_any_change_of_a_value_is_one_line_or_harmless(self, broken: Path, name: str) -> None:
        draw = random.Random(name)
        raw, lines = json.loads((broken / name).read_bytes()), set()
        for _ in range(12):
            changed = damage(copy.deepcopy(raw), draw)
            (broken / name).write_bytes(json.dumps(changed).encode())
            remake(broken)
            signal.setitimer(signal.ITIMER_REAL, TIME)
            lines.add(said_of(broken))
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert lines - {""} or name == "metrics.json"


class TestTensors:
    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"not",
            (1 << 62).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"[]",
            (10**6).to_bytes(8, "little") + b"[" * 10**6,
        ],
    )
    def test_what_holds_no_tensors(self, broken: Path, text: bytes) -> None:
        (broken / WEIGHTS).write_bytes(text)
        remake(broken)
        refused(broken, "not those of a model")

    def test_a_shape_beyond_all_memory(self, broken: Path) -> None:
        entry = {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 4]}
        head = json.dumps({"x": entry}).encode()
        (broken / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head + b"\0" * 4)
        remake(broken)
        refused(broken, "not those of a model")

    @pytest.mark.parametrize(
        "change",
        [
            lambda array: array.reshape(-1)[: max(1, array.size // 2)],
            lambda array: array[None],
            lambda array: array[:0],
            lambda array: np.full_like(array, 1 << 30),
            lambda array: np.full_like(array, np.nan, dtype=float),
            lambda array: -array,
            lambda array: array.astype(bool),
        ],
    )
    def test_any_tensor_changed(self, broken: Path, change: Callable[[Any], Any]) -> None:
        before = (broken / WEIGHTS).read_bytes()
        names = sorted(load(before))
        for name in random.Random(str(names)).sample(names, 12):
            (broken / WEIGHTS).write_bytes(before)

            def change_one(arrays: dict[str, np.ndarray], name: str = name) -> None:
                arrays[name] = change(arrays[name])

            edit_tensors(broken, change_one)
            signal.setitimer(signal.ITIMER_REAL, TIME)
            said_of(broken)
            signal.setitimer(signal.ITIMER_REAL, 0)

    def test_trees_that_lead_back_to_themselves(self, broken: Path) -> None:
        def round_about(arrays: dict[str, np.ndarray]) -> None:
            for name in arrays:
                if name.endswith("/left"):
                    arrays[name] = np.zeros_like(arrays[name])

        edit_tensors(broken, round_about)
        refused(broken, "not those of a model")

    @pytest.mark.parametrize(
        "path", [("net", "members"), ("net", "bins"), ("net", "folds"), ("net", "hidden_width")]
    )
    @pytest.mark.parametrize("size", [10**9, -1, 0, 2.5, "9", None, True, [1]])
    def test_sizes_that_the_tensors_have_not(
        self, broken: Path, path: tuple[str, str], size: Any
    ) -> None:
        def change(model: Any) -> None:
            model["survival"]["os"][path[0]][path[1]] = size

        edit(broken, "model.json", change)
        refused(broken, "not those of a model")

    @pytest.mark.parametrize("name", ["forest", "boosting"])
    @pytest.mark.parametrize("size", [10**9, -1, 2.5, "9", None])
    def test_numbers_of_trees_that_there_are_not(self, broken: Path, name: str, size: Any) -> None:
        def change(model: Any) -> None:
            for key in model["survival"]["os"]["folds"][0][name]:
                model["survival"]["os"]["folds"][0][name][key] = size

        edit(broken, "model.json", change)
        refused(broken, "not those of a model")


def damage(raw: Any, draw: random.Random) -> Any:
    """Change plain data at one place: a value is replaced, removed, doubled or renamed."""
    place, key = raw, None
    parent: Any = None
    while isinstance(place, (dict, list)) and place and (key is None or draw.random() < 0.85):
        parent = place
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
        place = parent[key]
    if parent is None:
        return draw.choice(ODD)
    how = draw.randrange(5)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, list):
        parent.extend(parent[:3])
    elif how == 2 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = draw.choice(ODD)
    return raw


@pytest.mark.parametrize(
    "verb",
    [
        ("predict", "b", "t.csv"),
        ("report", "b"),
        ("evaluate", "b", "study.yaml"),
        ("package", "b"),
        ("serve", "b"),
        ("compare", "b", "b"),
        ("promote", "b"),
    ],
)
def test_every_verb_says_one_line(
    broken: Path, verb: tuple[str, ...], monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(broken.parent)
    Path("t.csv").write_text("age\n61\n")
    edit(broken, "model.json", lambda model: {})
    if verb[0] in ("package", "serve"):  # read the files alone, and leave them to the worker
        (broken / "evil.py").write_text("raise SystemExit")
        remake(broken, files={"evil.py": "0" * 64})
    assert main(list(verb)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "b: the bundle" in line


@pytest.mark.parametrize("value", [[], "x", 3, {"models": 3}, {"models": {"model": [1]}}])
def test_metrics_of_another_shape_are_one_line(
    broken: Path, value: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(broken.parent)
    edit(broken, "metrics.json", lambda metrics: value)
    for verb in (("report", "b"), ("promote", "b")):
        assert main(list(verb)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("accomplice: b: ")
