"""The CPU engine: oneDNN's primitives on a blocked layout, replayed without Python."""
