"""Training: what a run is, the loop, and its curves."""
