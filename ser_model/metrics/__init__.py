"""How good predictions are: for each metric a function of values and a state that merges."""
