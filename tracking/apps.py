"""Django's registration of the tracks."""

from importlib import import_module

from django.apps import AppConfig


class TrackingConfig(AppConfig):
    """What devices say of themselves, and when they were last heard of."""

    name = "tracking"
    verbose_name = "Network boot"

    def ready(self) -> None:
        """Register roles, now that models can be imported."""
        import_module("tracking.wiring")
