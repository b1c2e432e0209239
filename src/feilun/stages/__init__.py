"""The eight stages of the wheel, one folder each; none imports another."""
