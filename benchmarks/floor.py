"""The floor of Django: plain views under the product's settings, middleware and database, and the same server.

What a straightforward implementation of the agent's endpoints would be made of: a constant answer, one ORM UPDATE by
primary key, one ORM INSERT. The rows touched are the product's own tables.
"""

import os
from uuid import UUID

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
application = get_asgi_application()

# These need the apps that the line above has loaded.
from django.conf import settings  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from config_merge.models import Config, Status  # noqa: E402
from tenancy.models import Notification  # noqa: E402


def constant(request: HttpRequest, size: int) -> HttpResponse:
    """Answer with `size` bytes."""
    return HttpResponse(b"x" * size, content_type="text/plain")


@csrf_exempt
def update(request: HttpRequest, device_id: UUID) -> HttpResponse:
    """One UPDATE, as a report needs it, with nothing checked."""
    Config.objects.filter(device_id=device_id).update(status=Status.APPLIED, error_reason="")
    return HttpResponse(b"x" * 56, content_type="text/plain")


@csrf_exempt
def insert(request: HttpRequest, organization_id: UUID) -> HttpResponse:
    """One INSERT."""
    Notification.objects.create(
        organization_id=organization_id, kind="floor", message=f"{request.POST['name']} registered."
    )
    return HttpResponse(b"x" * 140, content_type="text/plain")


urlpatterns = [
    path("constant/<int:size>", constant),
    path("update/<uuid:device_id>", update),
    path("insert/<uuid:organization_id>", insert),
]
settings.ROOT_URLCONF = __name__
