"""Floor 3: each device's log ring, last sign of life, activity. It does not know its neighbour `devices`."""
