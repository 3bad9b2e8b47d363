"""Floor 0: model-free plumbing every other app may use. It knows no domain word."""
