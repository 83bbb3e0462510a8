"""What the commands ``loyalty-gateway ledger …`` do, each on a ledger that is open."""
