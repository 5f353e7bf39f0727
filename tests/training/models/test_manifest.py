"""The bundle's folder: written whole or not at all, refused when a single bit was touched."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.study import parse_study
from accomplice.training.models.manifest import (
    FORMAT,
    LARGEST,
    MANIFEST,
    SIGNATURE,
    check_place,
    digest_of,
    read_folder,
    to_json,
    write_folder,
)

FILES = {
    "study.json": to_json({"name": "made-up", "levels": ["é", "b"]}),
    "weights.safetensors": bytes(range(256)) * 3,
    "golden.json": b"",
    **dict.fromkeys(("metrics.json", "model.json", "preprocessing.json", "provenance.json"), b"{}"),
}


def no_space(*_):
    raise OSError("no space")


@pytest.fixture(scope="module")
def study():
    return parse_study(
        {
            "name": "made-up",
            "synthetic": True,
            "source": {"files": ["t.csv"]},
            "endpoints": {"survival": {"os": {"time": "t", "event": "e"}}},
            "modalities": {"clinical": {"age": {"kind": "number"}}},
        },
        "x",
    )


@pytest.fixture(scope="module")
def path(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders") / "made-up"
    write_folder(folder, study, FILES)
    return folder


@pytest.fixture(scope="module")
def copied(path, tmp_path_factory):
    """A copy to change and mend."""
    folder = tmp_path_factory.mktemp("tampered") / "b"
    shutil.copytree(path, folder)
    return folder


class TestWriting:
    def test_what_was_written_is_read(self, path):
        found = read_folder(path)
        assert found.files == {**FILES, MANIFEST: (path / MANIFEST).read_bytes()}
        assert (found.path, found.digest, found.signature) == (path, digest_of(path), None)
        assert found.manifest["study"] == "made-up"
        assert read_folder(path, digest_of(path)) == found

    def test_a_signature_beside_is_read_and_kept(self, path, tmp_path):
        shutil.copytree(path, tmp_path / "signed")
        (tmp_path / "signed" / SIGNATURE).write_bytes(b"s" * 64)
        (tmp_path / "signed" / "other.txt").write_text("not the bundle's")
        found = read_folder(tmp_path / "signed")
        assert found.signature == b"s" * 64
        written = found.write(tmp_path / "again")
        assert {p.name for p in written.iterdir()} == {*FILES, MANIFEST, SIGNATURE}
        assert read_folder(written).files == found.files

    def test_manifest_says_what_the_folder_is(self, path):
        manifest = json.loads((path / MANIFEST).read_text())
        assert manifest["format"] == FORMAT == 6
        assert manifest["study"] == "made-up"
        assert manifest["synthetic"] is True
        assert manifest["digest"] == digest_of(path)
        sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in FILES.items()}
        assert manifest["files"] == sums

    def test_same_files_in_any_order_give_the_same_digest(self, study, path, tmp_path):
        write_folder(tmp_path / "again", study, dict(reversed(FILES.items())))
        assert digest_of(tmp_path / "again") == digest_of(path)
        write_folder(tmp_path / "other", study, FILES | {"golden.json": b"{}"})
        assert digest_of(tmp_path / "other") != digest_of(path)

    def test_missing_folders_above_are_made(self, study, tmp_path):
        write_folder(tmp_path / "a" / "b" / "c", study, FILES)
        assert digest_of(tmp_path / "a" / "b" / "c")

    def test_writing_over_a_bundle_replaces_it_and_leaves_nothing_beside(self, study, tmp_path):
        write_folder(tmp_path / "b", study, FILES | {"golden.json": b"{}"})
        (tmp_path / "b" / SIGNATURE).write_bytes(b"s" * 64)
        told = r"a bundle is there: --force \(in Python force=True\) replaces it"
        with pytest.raises(InputError, match=told):
            write_folder(tmp_path / "b", study, FILES)
        write_folder(tmp_path / "b", study, FILES, force=True)
        assert [p.name for p in tmp_path.iterdir()] == ["b"]
        assert {p.name for p in (tmp_path / "b").iterdir()} == {*FILES, MANIFEST}

    def test_writing_that_fails_leaves_the_old_bundle(self, study, tmp_path, monkeypatch):
        write_folder(tmp_path / "b", study, FILES)
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.write_bytes", no_space)
            with pytest.raises(OSError, match="no space"):
                write_folder(tmp_path / "b", study, FILES, force=True)
        assert read_folder(tmp_path / "b").files.keys() == {*FILES, MANIFEST}

    def test_no_file_is_written_that_would_be_refused(self, study, tmp_path, monkeypatch):
        monkeypatch.setitem(LARGEST, "golden.json", 3)
        with pytest.raises(InputError, match=r"golden\.json has 4 bytes, at most 3 are read"):
            write_folder(tmp_path / "b", study, FILES | {"golden.json": b"1234"})
        assert not (tmp_path / "b").exists()

    def test_json_knows_no_nan(self):
        with pytest.raises(ValueError, match="not JSON compliant"):
            to_json({"x": float("nan")})


class TestPlace:
    def test_nothing_and_an_empty_folder_and_a_bundle_are_fine(self, path, tmp_path):
        (tmp_path / "empty").mkdir()
        for place in (tmp_path / "new", tmp_path / "empty", path):
            assert check_place(place, force=True) == (place == path)

    def test_nothing_but_a_bundle_is_overwritten(self, study, tmp_path):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
        (tmp_path / "file").write_text("x")
        for name in ("thesis", "file"):
            with pytest.raises(InputError, match="exists and is not a bundle"):
                write_folder(tmp_path / name, study, FILES)
            with pytest.raises(InputError, match="exists and is not a bundle"):
                check_place(tmp_path / name)
        assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"

    def test_a_folder_inside_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(InputError, match="file is a file: name another folder"):
            check_place(tmp_path / "file" / "b")

    def test_a_link_is_refused(self, path, tmp_path):
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(InputError, match="is a link"):
            check_place(tmp_path / "link")


class TestTampering:
    @settings(max_examples=60)
    @given(data=st.data())
    def test_any_flipped_bit_is_refused(self, copied, data):
        names = sorted(p.name for p in copied.iterdir() if p.stat().st_size)
        file = copied / data.draw(st.sampled_from(names))
        before = file.read_bytes()
        place = data.draw(st.integers(0, len(before) - 1))
        flip = data.draw(st.integers(1, 255))
        after = bytearray(before)
        after[place] ^= flip
        file.write_bytes(bytes(after))
        try:
            with pytest.raises(InputError, match="changed after it was made"):
                read_folder(copied)
        finally:
            file.write_bytes(before)

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"files": 3, "digest": ""}']
    )
    def test_manifest_that_is_none_is_refused(self, path, tmp_path, content):
        shutil.copytree(path, tmp_path / "b")
        (tmp_path / "b" / MANIFEST).write_bytes(content)
        with pytest.raises(InputError, match="changed after it was made"):
            read_folder(tmp_path / "b")

    def test_blank_added_to_the_manifest_is_refused(self, path, tmp_path):
        shutil.copytree(path, tmp_path / "b")
        with (tmp_path / "b" / MANIFEST).open("ab") as file:
            file.write(b"\n")
        with pytest.raises(InputError, match="changed after it was made"):
            read_folder(tmp_path / "b")

    def test_each_file_is_missed(self, path, tmp_path):
        for file in sorted(path.iterdir()):
            folder = tmp_path / file.name
            shutil.copytree(path, folder)
            (folder / file.name).unlink()
            with pytest.raises(InputError, match=r"lacks its file|no bundle there"):
                read_folder(folder)

    def test_another_digest_than_the_recorded_one_is_refused(self, path):
        with pytest.raises(InputError, match="its digest differs"):
            read_folder(path, "0" * 64)

    def test_no_bundle_is_said_so(self, tmp_path):
        for place in (tmp_path, tmp_path / "nowhere"):
            for look in (read_folder, digest_of):
                with pytest.raises(InputError, match="no bundle there"):
                    look(place)

    @pytest.mark.parametrize("number", [3, 99])
    def test_other_format_is_refused(self, monkeypatch, study, tmp_path, number):
        with monkeypatch.context() as other_version:
            other_version.setattr("accomplice.training.models.manifest.FORMAT", number)
            write_folder(tmp_path / "b", study, FILES)
        with pytest.raises(
            InputError, match=f"bundle format {number}, this version reads 6: retrain"
        ):
            read_folder(tmp_path / "b")
