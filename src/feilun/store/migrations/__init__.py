"""Every change of the databases' shape, in order; never edited once released."""
