"""What an auditor's program does."""
