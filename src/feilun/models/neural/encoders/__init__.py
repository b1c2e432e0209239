"""What turns token ids into vectors, one network per file; all need torch."""
