"""JSON Lines files: strict, atomic."""

import os
import pickle
import stat

import pytest

from components.lib.files import explained, link_tree, read_json, read_jsonl, read_object, resumed_rows, write_jsonl


def test_rows_come_back_with_line_separators_inside(tmp_path):
    rows = [{"a": "x\u2028y"}, {"a": "é\n"}]
    assert write_jsonl(tmp_path / "f.jsonl", rows) == 2
    assert list(read_jsonl(tmp_path / "f.jsonl")) == rows


def test_a_bad_line_is_named(tmp_path):
    (tmp_path / "f.jsonl").write_text('{"a": 1}\n{"a":\n')
    with pytest.raises(ValueError, match=r"f.jsonl:2 is not JSON"):
        list(read_jsonl(tmp_path / "f.jsonl"))


def test_what_a_file_does_not_hold_is_asked_for_by_name(tmp_path):
    """Whoever reads a field of a row, or of a JSON file, of another step is told which file is the wrong one."""
    (tmp_path / "f.jsonl").write_text('{"a": 1}\n{"b": 2}\n[3]\n')
    rows = read_jsonl(tmp_path / "f.jsonl")
    first, second = next(rows), next(rows)
    assert first["a"] == 1 and second.get("a") is None and pickle.loads(pickle.dumps(first)) == {"a": 1}
    with pytest.raises(ValueError, match=r"f\.jsonl:2 has no field 'a'; is it the right file\?"):
        second["a"]
    with pytest.raises(ValueError, match=r"f\.jsonl:3 is no JSON object"):
        next(rows)
    for content, said in (
        (b"", "f.json is not JSON"), ("é".encode("latin-1"), "not JSON .*utf-8"), (b"[]", "is no JSON object"),
    ):  # fmt: skip
        (tmp_path / "f.json").write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_object(tmp_path / "f.json")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "f.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise KeyError("broken")

    with pytest.raises(KeyError):
        write_jsonl(path, rows())
    assert list(read_jsonl(path)) == [{"a": 1}] and list(tmp_path.iterdir()) == [path]


def test_a_last_line_that_was_cut_is_removed_and_the_file_goes_on(tmp_path):
    path = tmp_path / "f.jsonl"
    assert list(resumed_rows(path)) == []
    path.write_text('{"a": "é"}\n{"a": 2', encoding="utf-8")
    assert list(resumed_rows(path)) == [{"a": "é"}]
    assert path.read_text(encoding="utf-8") == '{"a": "é"}\n'


@pytest.mark.parametrize(("umask", "mode"), [(0o077, "-rw-------"), (0o022, "-rw-r--r--"), (0o002, "-rw-rw-r--")])
def test_files_have_the_mode_that_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_jsonl(tmp_path / "f.jsonl", [{"a": 1}])
    finally:
        os.umask(before)
    assert stat.filemode((tmp_path / "f.jsonl").stat().st_mode) == mode


@pytest.mark.fault("a volume is too full for the model that a training has made")
def test_a_copy_to_a_full_volume_names_the_file_and_the_remedy(tmp_path, volume, seen):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"x" * 50_000)
    volume.fill(left=2 * 4096)
    with pytest.raises(OSError) as raised:
        link_tree(tmp_path / "model", volume.path / "out")
    said = explained(raised.value)
    assert "No space left on device" in said and "model.safetensors'; free some space there" in said
    seen(said, lost="nothing: the training keeps it")


def test_what_is_no_error_of_a_volume_is_said_as_it_is(tmp_path):
    assert explained(OSError("the Hub answers 502")) == "the Hub answers 502"
    with pytest.raises(FileNotFoundError) as raised:
        read_json(tmp_path / "missing.json")
    assert explained(raised.value) == str(raised.value)
