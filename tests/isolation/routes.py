"""Every route of a URLconf, found by walking the resolver: nothing is listed by hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView


@dataclass(frozen=True)
class Route:
    """One route: its whole pattern, its name with namespaces ("" for none), its view and its arguments."""

    pattern: str
    name: str
    view: Callable[..., Any]
    arguments: tuple[str, ...]

    @property
    def rest_view(self) -> type[APIView] | None:
        """Return the REST view class, None for what is none."""
        cls = getattr(self.view, "cls", None)
        return cls if isinstance(cls, type) and issubclass(cls, APIView) else None

    def __str__(self) -> str:
        return self.name or self.pattern


def _walk(patterns: Sequence[Any], prefix: str, namespace: str) -> Iterator[Route]:
    for pattern in patterns:
        whole = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            below = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern.url_patterns, whole, below)
        elif isinstance(pattern, URLPattern):
            arguments = tuple({**pattern.pattern.regex.groupindex, **pattern.pattern.converters})
            yield Route(whole, namespace + pattern.name if pattern.name else "", pattern.callback, arguments)


def routes(urlconf: str | None = None) -> list[Route]:
    """Return the routes of a URLconf (the root's by default)."""
    return list(_walk(get_resolver(urlconf).url_patterns, "/", ""))
