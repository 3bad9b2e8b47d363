"""Floor 6: boot API and images of network-booted machines. It uses floors below, never its neighbours."""
