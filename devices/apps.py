"""Django's registration of the inventory."""

from importlib import import_module

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    """Devices, groups, fleet settings."""

    name = "devices"
    verbose_name = "Devices"

    def ready(self) -> None:
        """Register roles and subscriptions, now that models can be imported."""
        import_module("devices.wiring")
