"""Schedules on a GPU: streams for groups, the whole of it in one CUDA graph."""
