"""What is measured: the kinds of evidence."""
