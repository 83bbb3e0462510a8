"""``python -m loyalty_gateway`` is the command ``loyalty-gateway``."""

from loyalty_gateway.cli import main

main()
