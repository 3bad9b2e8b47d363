"""The REST room of the tenant wall."""
