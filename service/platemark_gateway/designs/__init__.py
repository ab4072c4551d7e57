"""Designs and their revisions."""
