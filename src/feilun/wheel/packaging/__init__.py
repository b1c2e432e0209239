"""A model as a folder that serves it on another machine: `feilun package`, and its arrival."""
