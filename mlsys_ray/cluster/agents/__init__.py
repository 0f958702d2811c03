"""RLlib agents for VM placement."""
