"""The HTTP process: policy, routes, metrics; mounts the console."""
