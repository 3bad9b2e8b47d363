"""The web pages and the API for a WSGI server. Websockets and the agents' fast path need `controller.asgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
application = get_wsgi_application()
