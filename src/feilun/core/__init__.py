"""Records, references, parts, stages, errors, settings, languages; imports nothing of ours."""
