"""Floor 6: edge nodes and the chutes they run. It may use the floors below, never its neighbours."""
