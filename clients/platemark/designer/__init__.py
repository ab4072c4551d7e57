"""What a designer's program does."""
