"""Lets the agent run as `python -m muster_agent`."""

from muster_agent.cli import entry

entry()
