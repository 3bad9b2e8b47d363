"""A server that kills itself, as kill -9 does, at one moment of the first POST of a configuration (see test_crash).

`answer`: after the commit, before the answer leaves. `commit`: after the configuration's write, before the commit.
"""

import os
import signal
import sys
from typing import Any

import django
import uvicorn

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from boot import asgi, cattlepi  # noqa: E402
from controller.asgi import application  # noqa: E402


def die(*_args: Any, **_options: Any) -> Any:
    """End at once; nothing is flushed, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    port, moment = int(sys.argv[1]), sys.argv[2]
    if moment == "answer":
        asgi._send = die
    else:
        cattlepi._tracked = die
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning")
