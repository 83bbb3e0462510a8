"""Recorded traffic held against the vendors' documents: what of it they do not know, and what breaks them."""
