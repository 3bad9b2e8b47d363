"""Floor 3: what exists and how to reach it. What a device should be is decided above."""
