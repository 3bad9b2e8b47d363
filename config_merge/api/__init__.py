"""The REST room of what a device should be: devices, templates, groups (OpenWISP's names and shapes)."""
