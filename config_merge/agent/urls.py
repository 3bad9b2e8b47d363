"""Every path below `/controller/` belongs to the agent protocol, also those that name nothing."""

from django.urls import re_path

from config_merge.agent.views import agent

urlpatterns = [re_path(r"^(?P<path>.*)\Z", agent, name="agent")]
