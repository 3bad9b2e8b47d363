"""Generated secrets: made once, complete, private, never replaced behind stored data."""

import json
import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from controller import keyfile


def test_the_first_call_generates_and_later_calls_read_the_same(tmp_path: Path) -> None:
    first = keyfile.load_or_create(directory=tmp_path / "data", database=tmp_path / "data/db")
    again = keyfile.load_or_create(directory=tmp_path / "data", database=tmp_path / "data/db")
    assert first == again
    assert len(first.secret_key) >= 48
    assert Fernet(first.encryption_keys[0]).decrypt(Fernet(first.encryption_keys[0]).encrypt(b"x")) == b"x"


def test_only_the_owner_may_read_what_is_generated(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    keyfile.load_or_create(directory=directory, database=directory / "db")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / keyfile.FILE_NAME).stat().st_mode) == 0o600
    assert {path.name for path in directory.iterdir()} == {keyfile.FILE_NAME, f".{keyfile.FILE_NAME}.lock"}


def _load(
    directory: str, barrier: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[str]"
) -> None:
    barrier.wait()
    results.put(keyfile.load_or_create(directory=Path(directory), database=Path(directory) / "db").secret_key)


def test_processes_that_start_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = 6
    barrier, results = context.Barrier(count), context.Queue()
    children = [
        context.Process(target=_load, args=(str(tmp_path / "data"), barrier, results)) for _ in range(count)
    ]
    for child in children:
        child.start()
    secrets = {results.get(timeout=30) for _ in children}
    for child in children:
        child.join(timeout=30)
        assert child.exitcode == 0
    assert len(secrets) == 1


def test_lost_secrets_beside_stored_data_are_not_replaced(tmp_path: Path) -> None:
    database = tmp_path / "muster.sqlite3"
    database.write_bytes(b"rows")
    with pytest.raises(keyfile.KeyFileError, match="restore it from a backup"):
        keyfile.load_or_create(directory=tmp_path, database=database)
    assert not (tmp_path / keyfile.FILE_NAME).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"secret_key": "x"})])
def test_a_damaged_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / keyfile.FILE_NAME).write_text(content)
    with pytest.raises(keyfile.KeyFileError, match="cannot be read"):
        keyfile.load_or_create(directory=tmp_path, database=tmp_path / "db")


def test_secrets_stay_out_of_repr(tmp_path: Path) -> None:
    keys = keyfile.load_or_create(directory=tmp_path, database=tmp_path / "db")
    assert keys.secret_key not in repr(keys)
    assert keys.encryption_keys[0] not in repr(keys)
