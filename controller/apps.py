"""Makes the roof's management commands and start-up checks known to Django."""

import gc
import os

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register

from controller.celery import app as celery_app
from controller.env import unknown_names

__all__ = ["ControllerConfig", "celery_app"]  # imported here so that every process sends tasks to our broker


class ControllerConfig(AppConfig):
    """The roof as a Django app: it has commands and checks, and no models."""

    name = "controller"
    verbose_name = "Controller"

    def ready(self) -> None:
        """Let garbage be collected again (see manage.py), though not among what is there for good."""
        gc.freeze()
        gc.enable()


@register()
def misspelt_variables(**_options: object) -> list[CheckMessage]:
    """Warn of MUSTER_… variables that nothing reads."""
    return [
        Warning(
            f"{name} is not a variable Muster knows.", hint="See docs/environment.md.", id="controller.W001"
        )
        for name in unknown_names(os.environ)
    ]
