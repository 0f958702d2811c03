"""Hindsight: what a placement could have been, had all been known."""
