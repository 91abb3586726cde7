"""Recording: what a camera delivered, kept without loss, to be analysed again."""
