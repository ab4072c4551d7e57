"""Licences: offers, acceptances and mints."""
