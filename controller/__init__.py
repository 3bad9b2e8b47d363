"""The roof: settings, routes, servers and commands. It wires the floors together and holds no domain logic."""
