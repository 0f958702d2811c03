"""Other ways to schedule or run a pipeline, under one interface."""
