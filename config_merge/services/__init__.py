"""Every write to templates, configurations and revisions."""
