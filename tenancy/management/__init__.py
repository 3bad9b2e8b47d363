"""Commands of the tenant wall."""
