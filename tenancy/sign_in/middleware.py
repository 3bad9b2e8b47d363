"""Notes which sessions are in use."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tenancy.sign_in import sessions


class SessionNoteMiddleware:
    """Stands below Django's authentication; a request that never looked at its session costs nothing."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        sessions.session_note_request(request)
        return response
