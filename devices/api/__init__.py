"""The REST room of the inventory."""
