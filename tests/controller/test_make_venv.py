"""Making a virtual environment where Python lacks ensurepip: pip comes from the package index, checked."""

import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from deploy import make_venv


def wheel(marker: str) -> bytes:
    """A zip archive that Python can run as `wheel/pip`, as a pip wheel can."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("pip/__main__.py", f"print({marker!r})")
    return stream.getvalue()


FILES = {"pip-9.0-py3-none-any.whl": wheel("old"), "pip-26.10-py3-none-any.whl": wheel("new")}


class Index:
    """A package index on loopback; `digest` is what it promises of every file, None for the truth."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.digest: str | None = None

    def page(self) -> str:
        links = [
            f'<a href="../../files/{name}#sha256={self.digest or sha256(content).hexdigest()}">{name}</a>'
            for name, content in FILES.items()
        ]
        yanked = '<a data-yanked="bad" href="../../files/pip-99.0-py3-none-any.whl#sha256=00">99</a>'
        others = (
            '<a href="../../files/pip-26.11b1-py3-none-any.whl">b</a><a href="pip-30.0.tar.gz">source</a>'
        )
        return "".join([*links, yanked, others])


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            body = shown.page().encode() if self.path == "/simple/pip/" else FILES.get(name)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shown = Index(f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_INDEX_URL", shown.url)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield shown
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_newest_stable_wheel_that_was_not_yanked_is_taken(index: Index, tmp_path: Path) -> None:
    path = make_venv.fetch_pip(tmp_path)
    assert path.name == "pip-26.10-py3-none-any.whl"
    assert path.read_bytes() == FILES[path.name]


def test_a_wheel_that_is_not_what_the_index_promised_is_refused(index: Index, tmp_path: Path) -> None:
    index.digest = "0" * 64
    with pytest.raises(ValueError, match="not what the index promised"):
        make_venv.fetch_pip(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_environment_that_works_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "venv"
    assert make_venv.main(target) == 0
    (target / "mine").write_text("kept")
    assert make_venv.main(target) == 0
    assert (target / "mine").read_text() == "kept"


def test_a_broken_environment_is_made_anew(tmp_path: Path) -> None:
    target = tmp_path / "venv"
    (target / "bin").mkdir(parents=True)
    (target / "bin/python").symlink_to("/nowhere/python3")
    assert make_venv.main(target) == 0
    assert make_venv.works(target / "bin/python")


def test_when_no_way_works_one_is_told_what_to_install(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_venv.sys, "executable", "/bin/false")
    assert make_venv.main(tmp_path / "venv") == 1
    assert "apt-get install python3-venv" in capsys.readouterr().err
    assert not (tmp_path / "venv").exists()
