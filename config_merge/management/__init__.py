"""Commands of what devices should be."""
