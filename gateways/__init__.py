"""Floor 6: the API of home gateways. It may use the floors below, never its neighbours."""
