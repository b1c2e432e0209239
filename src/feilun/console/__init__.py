"""Server-rendered pages; no front-end build step, no script."""
