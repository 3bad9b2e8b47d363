"""The reference device agent: the device's half of the conversation with a Muster controller.

Invariant: it knows the controller only by its URL and the wire protocol, and imports nothing of it.
"""

__version__ = "0.1.0"
