"""Placement policies: one file a policy, their interface in `base.py`."""
