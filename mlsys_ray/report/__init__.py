"""Reports and comparisons, made from run directories alone."""
