"""`manage.py merge_settings`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

VECTORS = json.loads((Path(__file__).parent / "engine/merge_vectors.json").read_text())


def run(monkeypatch: pytest.MonkeyPatch, text: str) -> Any:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    out = io.StringIO()
    call_command("merge_settings", stdout=out)
    return json.loads(out.getvalue())


def asked(vector: dict[str, Any]) -> dict[str, Any]:
    return {name: vector[name] for name in ("site", "device", "defaults")}


def test_one_and_many(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = run(monkeypatch, json.dumps([asked(vector) for vector in VECTORS]))
    assert answers == [{name: vector[name] for name in ("merged", "warnings", "uci")} for vector in VECTORS]
    assert run(monkeypatch, json.dumps(asked(VECTORS[5]))) == answers[5]
    assert run(monkeypatch, "{}") == {"merged": {}, "warnings": [], "uci": ""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "This is not JSON"),
        ("{", "This is not JSON"),
        ("[" * 100_000, "This is not JSON"),
        ("1", "an object"),
        ("[{}, 1]", "number 1: an object"),
        ('{"site": {"a/b": {"value": 1}}}', "a/b: a value must be a string"),
        ('{"site": []}', "site: an object is needed"),
        ('{"defaults": []}', "defaults: an object is needed"),
        ('{"defaults": 0}', "defaults: an object is needed"),
        ('{"device": "x"}', "device: an object is needed"),
        ('{"site": {"a/b": {"value": NaN}}}', "a/b: a value must be a string"),
        ('{"site": {"a/b": []}}', "a/b: an object is needed"),
        ("[[]]", "number 0: an object"),
        ("\x00", "This is not JSON"),
        ('{"defaults": {"a/b": 1}}', "a/b: a value must be a string"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(monkeypatch, text)
