"""Devices as tables: out to CSV, XLSX and JSON, and back in through the services (OpenWISP spec, section 2.16)."""
