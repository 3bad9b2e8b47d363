"""Floor 6: the boot API and images of network-booted machines. It may use the floors below, never its neighbours."""
