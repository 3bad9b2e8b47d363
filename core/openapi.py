"""Finishing touches to the API document: a summary for every operation, and one chapter per kind of object."""

from typing import Any

METHODS = frozenset({"get", "post", "put", "patch", "delete"})


def summary_of(description: str) -> str:
    """Return the first sentence of a description, without its full stop.

    >>> summary_of("List devices, newest first. Filters combine.")
    'List devices, newest first'
    """
    first = description.strip().split("\n\n")[0].replace("\n", " ")
    return first.split(". ")[0].rstrip(".")


def chapter_of(path: str) -> str:
    """Return the kind of object a path is about.

    >>> chapter_of("/api/v1/controller/device/{id}/"), chapter_of("/api/v1/users/token/"), chapter_of("/pub/v1/sites")
    ('device', 'token', 'cloud')
    """
    parts = path.strip("/").split("/")
    return "cloud" if parts[0] == "pub" else parts[3]


def finish(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add summaries and chapters (a post-processing hook of drf-spectacular)."""
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                operation["tags"] = [chapter_of(path)]
                operation.setdefault("summary", summary_of(operation.get("description", "")))
    return result
