"""Printers: what runs G-code."""
