"""Training of the networks that ship; needs requirements-train.txt."""
