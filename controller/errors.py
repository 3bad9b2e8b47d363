"""Answers for what no view handled: JSON where programs ask, one plain line elsewhere; never a debug page."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse

from core.acting import request_id

API_PREFIX = "/api/"


def _answer(request: HttpRequest, status: HTTPStatus, detail: str) -> HttpResponse:
    identifier = request_id.get() if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
    if request.path.startswith(API_PREFIX):
        return JsonResponse(
            {"detail": detail, **({"request_id": identifier} if identifier else {})}, status=status
        )
    detail = f"{detail} Request {identifier}" if identifier else detail
    return HttpResponse(f"{status.value} {detail}\n", status=status, content_type="text/plain; charset=utf-8")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400, among others for a Host header that is not ours."""
    return _answer(request, HTTPStatus.BAD_REQUEST, "Bad request.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return _answer(request, HTTPStatus.FORBIDDEN, "You do not have permission to perform this action.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form without its token; the reason stays out of the page, Django logs it."""
    return _answer(request, HTTPStatus.FORBIDDEN, "CSRF verification failed. Reload the page and try again.")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404, the same words for an unknown route and for an object one may not see."""
    return _answer(request, HTTPStatus.NOT_FOUND, "Not found.")


def server_error(request: HttpRequest) -> HttpResponse:
    """500; the traceback is in the log, under the request id that the answer shows."""
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error.")
