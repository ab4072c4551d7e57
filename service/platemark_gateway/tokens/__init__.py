"""Reservations and print tokens."""
