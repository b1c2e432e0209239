"""The command line: one file per command; each calls one function below and shows its answer."""
