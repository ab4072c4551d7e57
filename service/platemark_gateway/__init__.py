"""The Platemark gateway."""
