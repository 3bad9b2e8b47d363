"""Archives as downloads, with the headers of the agent's own (OpenWISP spec, 1A.5)."""

import contextlib
from collections.abc import Iterator

from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import ValidationError

from config_merge.agent.messages import HEADER
from config_merge.engine import EngineError

ARCHIVE = "application/octet-stream"


def archive_response(archive: bytes, *, name: str) -> HttpResponse:
    """Return the download of a tar.gz called `name`."""
    disposition = content_disposition_header(as_attachment=True, filename=f"{name}.tar.gz") or "attachment"
    headers = {"Content-Disposition": disposition, HEADER[0]: HEADER[1]}
    return HttpResponse(archive, content_type=ARCHIVE, headers=headers)


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Tell what the engine refuses as an error of the whole object (400)."""
    try:
        yield
    except EngineError as error:
        raise ValidationError({NON_FIELD_ERRORS: [str(error)]}) from error
