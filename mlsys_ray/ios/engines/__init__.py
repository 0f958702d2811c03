"""What runs schedules: one file an engine."""
