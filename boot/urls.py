"""Every path of the boot dialect, also those that name nothing."""

from django.urls import re_path

from boot.views import boot

urlpatterns = [re_path(r"^(?:boot|images|track|ping)(?:/(?s:.*))?\Z", boot, name="boot")]
