"""The files under `--root`: read, replaced and removed without ever leaving that directory.

Invariant: no call touches a path that resolves outside the root, whatever links lie on the way.
"""

import base64
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from muster_agent.errors import ConfigurationRejected
from muster_agent.files import remove_durably, sync_directory, temp_name, write_atomic


@dataclass(frozen=True)
class FileImage:
    """A file's whole content and permission bits."""

    data: bytes = field(repr=False)
    mode: int = 0o644

    def to_json(self) -> dict[str, object]:
        return {"data": base64.b64encode(self.data).decode("ascii"), "mode": self.mode}

    @classmethod
    def from_json(cls, record: dict[str, object]) -> "FileImage":
        """Raises KeyError, ValueError or TypeError on a record of another shape."""
        return cls(data=base64.b64decode(str(record["data"])), mode=int(str(record["mode"])))


class Tree:
    """A directory seen as a file system; all paths are relative, with `/`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def locate(self, path: str) -> Path:
        """Where `path` really is, links followed. Raises ConfigurationRejected outside the root."""
        place = (self._root / path).resolve()
        if place == self._root or not place.is_relative_to(self._root):
            raise ConfigurationRejected(f"{path} leads outside the tree by a link")
        return place

    def read(self, path: str) -> FileImage | None:
        """The file, or None when there is none. Raises ConfigurationRejected when something else is there."""
        place = self.locate(path)
        try:
            status = place.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationRejected(f"{path} exists and is not a plain file")
            return FileImage(data=place.read_bytes(), mode=stat.S_IMODE(status.st_mode))
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise ConfigurationRejected(f"a parent of {path} is not a directory") from error

    def missing_parents(self, path: str) -> tuple[str, ...]:
        """Directories that must be made before `path` can be written, outermost first."""
        parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
        return tuple(parent for parent in reversed(parents) if not os.path.lexists(self._root / parent))

    def put(self, path: str, image: FileImage | None) -> None:
        """Make `path` be `image` (None: absent), durably. Doing it again changes nothing. Raises OSError."""
        place = self.locate(path)
        if image is None:
            if place.parent.is_dir():
                remove_durably(place)
            return
        for parent in self.missing_parents(path):
            made = self._root / parent
            made.mkdir(mode=0o755, exist_ok=True)
            sync_directory(made.parent)
        write_atomic(place, image.data, mode=image.mode)

    def drop_temp(self, path: str) -> None:
        """Remove what a killed `put` may have left beside `path`."""
        temp_name(self.locate(path)).unlink(missing_ok=True)

    def drop_directory(self, path: str) -> None:
        """Remove the directory if it is there and empty."""
        place = self.locate(path)
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
            sync_directory(place.parent)
