"""What the gateway says of itself: its profile, its health, its transactions."""
