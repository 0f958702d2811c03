"""What the paper printed, and how to run it again."""
