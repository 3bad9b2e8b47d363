"""Routes of this app's REST room; the root URLconf includes them."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
