"""Measuring of schedules on the machines of a cluster."""
