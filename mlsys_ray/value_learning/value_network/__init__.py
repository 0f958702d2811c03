"""Value functions that are learned from measured schedules."""
