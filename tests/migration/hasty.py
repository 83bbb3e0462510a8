"""``loyalty-gateway`` as a program that waits for seconds where it waits for minutes otherwise.

What a gateway was at that was killed is taken up by the next one when a lease has run out, and a server that
failed is left alone for a while. Tests that end processes again and again have no minutes to wait.
"""

from loyalty_gateway.cli import main
from loyalty_gateway.migration import follower
from loyalty_gateway.upstream import connections, intents, lists, settling

if __name__ == "__main__":
    vars(intents).update(LEASE_SECONDS=3, HELD_SECONDS=2)
    vars(lists).update(LEASE_SECONDS=3)
    vars(settling).update(LEASE_SECONDS=3, HELD_SECONDS=2, _HELD_EVERY_SECONDS=1)
    vars(connections).update(_PAUSE_SECONDS=0.5)
    vars(follower).update(_LEASE_SECONDS=3, _HOLD_EVERY_SECONDS=1)
    main()
