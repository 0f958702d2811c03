"""Searches for a schedule, by a value function or by measuring."""
