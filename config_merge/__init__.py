"""What a device should be: templates, layers, the merge engine, revisions and delivery."""
