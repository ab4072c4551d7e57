"""Backups, and how a gateway comes back from them."""
