"""Django's registration of the boot dialect."""

from importlib import import_module

from django.apps import AppConfig


class BootConfigApp(AppConfig):
    """Boot configurations, their quotas, and the API that network-booted Pis speak."""

    name = "boot"
    verbose_name = "Network boot"

    def ready(self) -> None:
        """Register roles, now that models can be imported."""
        import_module("boot.wiring")
