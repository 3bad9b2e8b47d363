"""Floor 4: tunnel servers, clients, address allocation. It renders no device configuration."""
