"""The roof: settings, routes, servers, commands. It wires the floors together and holds no domain logic."""
