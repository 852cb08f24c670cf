"""k, stride and dropout tried on the valid part of a data set, within a budget of time."""
