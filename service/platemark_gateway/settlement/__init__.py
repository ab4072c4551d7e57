"""Settling counts on the chain."""
