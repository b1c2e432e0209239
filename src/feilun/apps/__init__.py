"""Applications built on the wheel; none imports another."""
