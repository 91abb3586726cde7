"""Who is told what the analysis found."""
