"""What was done at one side of a move and is to follow at the other: the durable outbox, and how far it is.

At an upstream the intents that are to follow are the outbox. At the ledger here it is a wallet's entries beyond
the version that ``followed`` has; versions have no gap, so nothing is passed over in whichever order transactions
commit. A customer without such a version is not **taken over** yet: their balance at the new side is still to be
set.
"""
