"""Signing in: passwords, locks after failures, second factors, sessions."""
