"""loyalty-gateway: five loyalty vendors' APIs, each exactly as its contract says, over one points ledger."""
