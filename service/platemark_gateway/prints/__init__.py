"""Redemptions, releases and outcomes."""
