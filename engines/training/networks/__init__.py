"""Networks of the learned engines; needs requirements-train.txt."""
