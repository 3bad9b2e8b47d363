"""Archives as downloads, with the headers of the agent's own (OpenWISP spec, 1A.5)."""

import contextlib
import re
from collections.abc import Iterator

from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import ValidationError

from config_merge.agent.messages import HEADER
from config_merge.engine import EngineError

# Device names stand unquoted, as the agent protocol prints them; a template may be called anything.
_PLAIN = re.compile(r"^[A-Za-z0-9.:-]+\Z")
ARCHIVE = "application/octet-stream"


def archive_response(archive: bytes, *, name: str) -> HttpResponse:
    """Return the download of a tar.gz called `name`."""
    filename = f"{name}.tar.gz"
    quoted = content_disposition_header(as_attachment=True, filename=filename) or "attachment"
    plain = _PLAIN.match(name) is not None
    disposition = f"attachment; filename={filename}" if plain else quoted
    headers = {"Content-Disposition": disposition, HEADER[0]: HEADER[1]}
    return HttpResponse(archive, content_type=ARCHIVE, headers=headers)


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Tell what the engine refuses as an error of the whole object (400)."""
    try:
        yield
    except EngineError as error:
        raise ValidationError({NON_FIELD_ERRORS: [str(error)]}) from error
