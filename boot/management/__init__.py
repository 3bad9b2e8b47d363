"""Commands of the boot dialect."""
