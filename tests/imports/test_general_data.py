import gzip
import json
from pathlib import Path

import pytest

from ste_ray.core.records import Message
from ste_ray.errors import ConfigError
from ste_ray.imports.general_data import GeneralData

FLAN = Path(__file__).parents[3] / "shared/reference/flan_v2_2k.json"
GOOD = {"dialog_history": [{"role": "user", "content": "Hi"}], "response": "Hello"}
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "H"}, {"text": "i"}]},
        {"role": "assistant", "content": "Hello"},
    ]
}


def read(path):
    return list(GeneralData(str(path)))


def written(path, rows):
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.skipif(not FLAN.exists(), reason="the study's reference data are not there")
def test_the_file_of_the_study_is_read_whole():
    data = GeneralData(str(FLAN))
    examples = list(data)
    assert len(examples) == 2000
    assert not data.skipped
    stored = json.loads(FLAN.read_text())
    for (dialog, response), row in zip(examples, stored, strict=True):
        assert [{"role": m.role, "content": m.content} for m in dialog] == row["dialog_history"]
        assert response == row["response"]


@pytest.mark.parametrize("name", ["g.json", "g.jsonl"])
def test_both_forms_in_both_kinds_of_file(tmp_path, name):
    path = written(tmp_path / name, [GOOD, CHAT])
    user = Message(role="user", content="Hi")
    system = Message(role="system", content="Be brief.")
    assert read(path) == [((user,), "Hello"), ((system, user), "Hello")]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == read(path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("text", "no JSON object"),
        ({}, "a row without 'dialog_history'"),
        ({"dialog_history": [], "response": "x"}, "does not end with the user's turn"),
        (GOOD | {"response": " "}, "an empty response"),
        (GOOD | {"response": None}, "an empty response"),
        ({"messages": CHAT["messages"][:2]}, "do not end with the assistant's"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
        ({"messages": [{"role": "user", "content": None}]}, "content is no text"),
        ({"messages": [{"role": "user", "content": [{"image": 1}]}]}, "content is no text"),
        ({"messages": ["Hi"]}, "role 'None'"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]},
            "content is no text",
        ),
    ],
)  # fmt: skip
def test_a_bad_row_is_left_out_and_counted(tmp_path, row, reason):
    data = GeneralData(str(written(tmp_path / "g.json", [GOOD, row, GOOD])))
    for _ in range(2):
        assert len(list(data)) == 2
        ((told, count),) = data.skipped.items()
        assert reason in told
        assert count == 1
    with pytest.raises(ConfigError, match="holds no example"):
        read(written(tmp_path / "bad.json", [row]))


def test_a_broken_line_is_one_bad_row(tmp_path):
    path = tmp_path / "g.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{{broken\n\n{json.dumps(GOOD)}\n")
    assert len(read(path)) == 2


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("g.json", b"", "is no JSON"),
        ("g.json", b"{broken", "is no JSON"),
        ("g.json", b'{"a": 1}', "must be a JSON list"),
        ("g.json", b"[]", "it has no rows"),
        ("g.jsonl", b"", "it has no rows"),
        ("g.json.gz", b"not gzipped", "cannot read general data"),
        ("g.json", b"\xff\xfe\xff", "is no JSON"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert complaint in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/nowhere/g.json", "s3://bucket/g.json", "/tmp"])
def test_a_missing_file_is_named(path):
    for use in (lambda data: data.fingerprint, list):
        with pytest.raises(ConfigError, match="general data"):
            use(GeneralData(path))


def test_a_shipped_file_goes_by_its_name_and_a_wrong_one_is_told_them(tmp_path):
    written(tmp_path / "requests.jsonl", [GOOD])
    (tmp_path / "other.yaml").write_text("")
    data = GeneralData("requests", shipped=tmp_path)
    assert [response for _, response in data] == ["Hello"]
    with pytest.raises(ConfigError, match=r"'request' .*the name of a shipped one \(requests\)"):
        list(GeneralData("request", shipped=tmp_path))


def test_the_fingerprint_follows_the_content(tmp_path):
    one, two = written(tmp_path / "1.json", [GOOD]), written(tmp_path / "2.json", [GOOD])
    prints = [GeneralData(str(path)).fingerprint for path in (one, two)]
    assert prints[0] == prints[1]
    assert GeneralData(str(written(one, [GOOD, GOOD]))).fingerprint != prints[0]
