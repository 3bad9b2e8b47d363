"""Floor 1: who may do what in which organization. It knows no device word."""
